//! The image of the bids: a file with all bid profiles in their packed form, so that a restart need not parse a million documents.
//!
//! It is a copy that may be missing, old or damaged at any time: then documents are read. It says as of which entry of the audit log it was
//! made. Every change of a bid has an entry there, in the same unit of work; so an image whose entry is in the log, with the same hash,
//! differs from the store by the bids of the entries behind it, and by nothing else. Those are read from their documents.
//!
//! Absent on purpose: being told of changes. Whoever makes it reads the store as everybody does.

use super::connection::{Dialect, ReadConnection, parse};
use super::load::{each_bid, in_parallel};
use super::read::audit::head;
use super::read::events::store_id;
use super::{Reader, StoreError, postgresql, sqlite};
use crate::audit::{Hash, Head};
use exchange::bid::BidProfile;
use exchange::bid::packed::{FORMAT, Unpacker, pack};
use exchange::id::BidProfileId;
use foldhash::quality::FixedState;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::BuildHasher;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where it is in a data directory.
const FILE_NAME: &str = "bids.image";

const MAGIC: [u8; 8] = *b"dcebids\n";

/// Bytes of packed bids that are checked and read together, at least.
const CHUNK_BYTES: usize = 256 * 1024;

/// More than any chunk has: a bid profile is smaller than the largest body that the API takes.
const CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a header.
const HEADER_BYTES: usize = 80;

/// Where the image of the bids is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BidImage(PathBuf);

/// What an image says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Of the packed form.
    format: u32,
    /// The schema's version: a migration may have changed documents.
    schema: u32,
    store_id: [u8; 8],
    /// The audit log's last entry when it was made.
    audit_seq: i64,
    audit_hash: Hash,
    bids: u64,
}

/// What became of making an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageMade {
    /// It is on disk, with so many bids.
    Made {
        /// How many.
        bids: u64,
    },
    /// Nobody wanted it any more.
    GivenUp,
}

impl BidImage {
    /// The image in a data directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self(directory.join(FILE_NAME))
    }

    fn io(&self) -> impl Fn(std::io::Error) -> StoreError {
        let path = self.0.clone();
        move |source| StoreError::Io { path: path.clone(), source }
    }

    /// The image of this store, as far as its header tells; nothing where it is missing, or another store's or binary's.
    fn open(&self, dialect: Dialect, store_id: [u8; 8]) -> Option<(Header, BufReader<File>)> {
        let mut file = BufReader::new(File::open(&self.0).ok()?);
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact(&mut bytes).ok()?;
        let header = Header::read(&bytes)?;
        let is_ours =
            header.format == FORMAT && header.schema == schema(dialect) && header.store_id == store_id;
        is_ours.then_some((header, file))
    }
}

impl Header {
    fn write(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(self.format.to_le_bytes());
        bytes.extend(self.schema.to_le_bytes());
        bytes.extend(self.store_id);
        bytes.extend(self.audit_seq.to_le_bytes());
        bytes.extend(self.audit_hash.0);
        bytes.extend(self.bids.to_le_bytes());
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes.try_into().expect("80 bytes")
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (content, sum) = bytes.split_last_chunk()?;
        if checksum(content) != u64::from_le_bytes(*sum) {
            return None;
        }
        let (magic, rest) = content.split_first_chunk::<8>()?;
        let (format, rest) = rest.split_first_chunk()?;
        let (schema, rest) = rest.split_first_chunk()?;
        let (store_id, rest) = rest.split_first_chunk()?;
        let (audit_seq, rest) = rest.split_first_chunk()?;
        let (audit_hash, bids) = rest.split_first_chunk()?;
        (*magic == MAGIC).then_some(Self {
            format: u32::from_le_bytes(*format),
            schema: u32::from_le_bytes(*schema),
            store_id: *store_id,
            audit_seq: i64::from_le_bytes(*audit_seq),
            audit_hash: Hash(*audit_hash),
            bids: u64::from_le_bytes(bids.try_into().ok()?),
        })
    }

    /// Whether the store still has the past that the image was made of.
    fn is_past_of(&self, connection: &dyn ReadConnection) -> Result<bool, StoreError> {
        let sql = format!("SELECT hash FROM audit_entries WHERE seq = {}", self.audit_seq);
        let found = connection.row(&sql, &[], |row| row.get(0).map(Hash))?;
        Ok(found == Some(self.audit_hash))
    }

    /// The entries of bids that were changed since.
    fn changes(&self) -> String {
        format!("FROM audit_entries WHERE seq > {} AND subject LIKE 'bid_profile/%'", self.audit_seq)
    }
}

/// Reads all bids of the store from its image, and from the documents of those that were changed since; nothing where there is no
/// image to go by.
pub(super) fn read(
    image: &BidImage,
    connection: &dyn ReadConnection,
    dialect: Dialect,
) -> Result<Option<BTreeMap<BidProfileId, Arc<BidProfile>>>, StoreError> {
    let Some((header, mut file)) = image.open(dialect, store_id(connection)?) else { return Ok(None) };
    if !header.is_past_of(connection)? {
        tracing::info!("the image of the bids is of another past of this store; documents are read");
        return Ok(None);
    }
    let mut bids = Vec::with_capacity(usize::try_from(header.bids).unwrap_or_default().min(10_000_000));
    let damaged = |finding: &str| StoreError::Image { path: image.0.clone(), finding: finding.to_owned() };
    let all = in_parallel(
        |chunk: Vec<u8>| unpack(&chunk).ok_or_else(|| damaged("a chunk is not what it was")),
        |bid: Arc<BidProfile>| bids.push((bid.id, bid)),
        |give| {
            while let Some(chunk) = next_chunk(&mut file).map_err(image.io())? {
                give(chunk)?;
            }
            Ok(())
        },
    );
    if let Err(error) = all {
        tracing::warn!(%error, "documents are read instead");
        return Ok(None);
    }
    let mut bids = BTreeMap::from_iter(bids);
    let id = match dialect {
        Dialect::Sqlite => "unhex(substr(subject, 13), '-')",
        Dialect::Postgresql => "substr(subject, 13)::uuid",
    };
    let changed = format!("SELECT document FROM bid_profiles WHERE id IN (SELECT {id} {})", header.changes());
    each_bid(connection, &changed, |bid| {
        bids.insert(bid.id, bid);
    })?;
    let there_are = connection.row("SELECT count(*) FROM bid_profiles", &[], |row| row.get::<i64>(0))?;
    if there_are != i64::try_from(bids.len()).ok() {
        tracing::warn!(
            image = bids.len(),
            "the image has not the bids that the store has; documents are read"
        );
        return Ok(None);
    }
    Ok(Some(bids))
}

impl Reader {
    /// How many documents a restart would have to read although there is this image.
    pub fn bids_not_in(&self, image: &BidImage) -> Result<u64, StoreError> {
        self.with(|connection| {
            let opened = image.open(self.dialect(), store_id(connection)?);
            let sql = match opened {
                Some((header, _)) if header.is_past_of(connection)? => {
                    format!("SELECT count(DISTINCT subject) {}", header.changes())
                }
                _ => "SELECT count(*) FROM bid_profiles".to_owned(),
            };
            let found = connection.row(&sql, &[], |row| row.get::<i64>(0))?;
            Ok(found.map_or(0, i64::unsigned_abs))
        })
    }

    /// Makes the image anew, as of now, for as long as `is_wanted`. The one there was stays until then.
    pub fn make_image(
        &self,
        image: &BidImage,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<ImageMade, StoreError> {
        let unfinished = image.0.with_extension("image.new");
        let made = self.once(|connection| {
            let Head { seq: audit_seq, hash: audit_hash, .. } = head(connection)?;
            let count = connection.row("SELECT count(*) FROM bid_profiles", &[], |row| row.get::<i64>(0))?;
            let header = Header {
                format: FORMAT,
                schema: schema(self.dialect()),
                store_id: store_id(connection)?,
                audit_seq,
                audit_hash,
                bids: count.map_or(0, i64::unsigned_abs),
            };
            write(&unfinished, &header, connection, is_wanted, &image.io())
        })?;
        match made {
            ImageMade::Made { .. } => {
                std::fs::rename(&unfinished, &image.0).map_err(image.io())?;
                if let Some(directory) = image.0.parent() {
                    File::open(directory).and_then(|directory| directory.sync_all()).map_err(image.io())?;
                }
            }
            ImageMade::GivenUp => std::fs::remove_file(&unfinished).map_err(image.io())?,
        }
        Ok(made)
    }
}

fn write(
    path: &Path,
    header: &Header,
    connection: &dyn ReadConnection,
    is_wanted: &dyn Fn() -> bool,
    io: &dyn Fn(std::io::Error) -> StoreError,
) -> Result<ImageMade, StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    // Bids have secrets in them: what opens a live bidder's doors.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = BufWriter::new(options.open(path).map_err(io)?);
    file.write_all(&header.write()).map_err(io)?;
    let mut made = ImageMade::Made { bids: header.bids };
    let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
    connection.stream("SELECT document FROM bid_profiles ORDER BY id", &mut |rows| {
        while let Some(row) = rows.next()? {
            pack(&parse("bid_profiles", row.get(0)?)?, &mut chunk);
            if chunk.len() >= CHUNK_BYTES {
                write_chunk(&mut file, &mut chunk).map_err(io)?;
                if !is_wanted() {
                    made = ImageMade::GivenUp;
                    break;
                }
            }
        }
        Ok(())
    })?;
    write_chunk(&mut file, &mut chunk).map_err(io)?;
    let file = file.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    Ok(made)
}

/// A chunk is its length, its checksum, and its bytes.
fn write_chunk(file: &mut impl Write, chunk: &mut Vec<u8>) -> std::io::Result<()> {
    file.write_all(&(chunk.len() as u64).to_le_bytes())?;
    file.write_all(&checksum(chunk).to_le_bytes())?;
    file.write_all(chunk)?;
    chunk.clear();
    Ok(())
}

/// The next chunk, with its checksum in front; nothing at the end of the file.
fn next_chunk(file: &mut BufReader<File>) -> std::io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    if std::io::BufRead::fill_buf(file)?.is_empty() {
        return Ok(None);
    }
    file.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > CHUNK_BYTES_MAX {
        return Err(std::io::Error::other("a chunk is longer than any can be"));
    }
    let mut chunk = vec![0; length + 8];
    file.read_exact(&mut chunk)?;
    Ok(Some(chunk))
}

/// The bids of a chunk; nothing where it is damaged.
fn unpack(chunk: &[u8]) -> Option<Vec<Arc<BidProfile>>> {
    let (sum, bytes) = chunk.split_first_chunk()?;
    if checksum(bytes) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut bids = Vec::new();
    let mut from = Unpacker::new(bytes);
    while !from.is_at_end() {
        bids.push(Arc::new(from.bid_profile()?));
    }
    Some(bids)
}

fn checksum(bytes: &[u8]) -> u64 {
    FixedState::default().hash_one(bytes)
}

fn schema(dialect: Dialect) -> u32 {
    let newest = match dialect {
        Dialect::Sqlite => sqlite::migrations::NEWEST,
        Dialect::Postgresql => postgresql::migrations::NEWEST,
    };
    u32::try_from(newest).expect("a handful of steps")
}
