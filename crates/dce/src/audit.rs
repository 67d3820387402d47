//! `dce audit verify|export|anchors|public-key`: the audit log, for those who check it.

use crate::audit_key;
use crate::command_line::{AuditCommand, ExportFormat, Format};
use crate::config::Config;
use crate::failure::Failure;
use crate::print;
use comfy_table::{Table, presets};
use indicatif::ProgressBar;
use infra::audit::{Anchor, AuditReport, Begins, Check, Ends, PublicKey, SealedEntry};
use infra::store::{Store, StoreError};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

/// Runs it on the log of this configuration's books, or on an export.
pub(crate) fn run(config: &Config, command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify { anchors, public_key, export, format } => {
            let anchors = anchors.as_deref().map_or(Ok(Vec::new()), read_anchors)?;
            let trusted = trusted(config, public_key)?;
            let report = match export {
                Some(export) => check_export(export, anchors, &trusted)?,
                None => check_store(config, anchors, &trusted)?,
            };
            tell(&report, *format)
        }
        AuditCommand::Export { from, to, format } => export(config, *from, *to, *format),
        AuditCommand::Anchors { format } => {
            let anchors = Store::open_read_only(config.place())?.audit_anchors()?;
            print(&match format {
                Format::Json => anchors.iter().map(line).collect(),
                Format::Text => anchors_table(&anchors),
            })
        }
        AuditCommand::PublicKey => {
            let key = audit_key::open_or_make(config)?;
            print(&format!("{}\n", key.public_key()))
        }
    }
}

/// The keys named; without any, the public half of the exchange's own.
fn trusted(config: &Config, named: &[PublicKey]) -> Result<Vec<PublicKey>, Failure> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let own = audit_key::open(config)?;
    Ok(own.map(|key| key.public_key()).into_iter().collect())
}

fn check_store(config: &Config, anchors: Vec<Anchor>, trusted: &[PublicKey]) -> Result<AuditReport, Failure> {
    let reader = Store::open_read_only(config.place())?;
    let bar = progress();
    let report = reader.verify_audit(anchors, trusted, &mut |rows| bar.inc(rows));
    bar.finish_and_clear();
    Ok(report?)
}

/// How many rows were looked at, shown when stderr is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message("rows");
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn check_export(path: &Path, anchors: Vec<Anchor>, trusted: &[PublicKey]) -> Result<AuditReport, Failure> {
    let mut check = Check::new(anchors, trusted, None, Begins::Anywhere);
    let bar = progress();
    each_line(path, |number, line| {
        let entry: SealedEntry = serde_json::from_str(line).map_err(|error| {
            unreadable(path, number, &error, "give what `dce audit export --format json` wrote")
        })?;
        check.entry(&entry);
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(check.finish(Ends::Anywhere))
}

/// Anchors, one a line: as `dce audit anchors` writes them, or the events `audit.anchored` as they came from the bus.
fn read_anchors(path: &Path) -> Result<Vec<Anchor>, Failure> {
    let mut anchors = Vec::new();
    each_line(path, |number, line| {
        let read = serde_json::from_str::<serde_json::Value>(line).and_then(|mut value| {
            let is_event = value.get("specversion").is_some();
            if is_event && value["type"] != "audit.anchored" {
                return Ok(());
            }
            let anchor = if is_event { value["data"].take() } else { value };
            serde_json::from_value(anchor).map(|anchor| anchors.push(anchor))
        });
        read.map_err(|error| {
            unreadable(path, number, &error, "give what `dce audit anchors --format json` wrote")
        })
    })?;
    Ok(anchors)
}

fn unreadable(path: &Path, line: usize, error: &serde_json::Error, fix: &str) -> Failure {
    Failure::found(format!("{}:{line}: cannot be read ({error}); {fix}", path.display()))
}

/// Gives every line that is not blank to `take`, with its number.
fn each_line(path: &Path, mut take: impl FnMut(usize, &str) -> Result<(), Failure>) -> Result<(), Failure> {
    let failure =
        |error: std::io::Error| Failure::usage(format!("{}: {error}; name a readable file", path.display()));
    let file = File::open(path).map_err(failure)?;
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(failure)?;
        if !line.trim().is_empty() {
            take(number, &line)?;
        }
    }
    Ok(())
}

fn tell(report: &AuditReport, format: Format) -> Result<(), Failure> {
    print(&match format {
        Format::Json => line(report),
        Format::Text => text(report),
    })?;
    match report.findings_total {
        0 => Ok(()),
        1 => Err(Failure::found("1 finding in the audit log; the line above says what to do")),
        total => {
            Err(Failure::found(format!("{total} findings in the audit log; the lines above say what to do")))
        }
    }
}

fn text(report: &AuditReport) -> String {
    let AuditReport { findings, entries, first, last, anchors, anchors_elsewhere, anchored_to, .. } = report;
    let mut text = String::new();
    if !findings.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["entry", "what is wrong", "what to do"]);
        for finding in findings {
            table.add_row([finding.seq.to_string(), finding.what.clone(), finding.fix.to_owned()]);
        }
        text = format!("{table}\n");
    }
    let after = last - (*anchored_to).max(first - 1);
    let summary = format!(
        "{} findings in {entries} entries ({first} to {last}); {anchors} anchors vouch up to entry {anchored_to}, \
         {after} entries came after; {anchors_elsewhere} anchors are of entries that are not here; the ledger was \
         compared with {} anchors\n",
        report.findings_total, report.balances_checked
    );
    text + &summary
}

fn anchors_table(anchors: &[Anchor]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["entry", "anchored", "transfers", "hash", "signed by"]);
    for Anchor { statement, public_key, .. } in anchors {
        table.add_row([
            statement.seq.to_string(),
            statement.at.to_jiff().to_string(),
            statement.transfers.to_string(),
            statement.hash.to_string(),
            public_key.to_string(),
        ]);
    }
    format!("{table}\n")
}

fn line(value: &impl serde::Serialize) -> String {
    format!("{}\n", serde_json::to_string(value).expect("plain data is JSON"))
}

/// Writes the entries to stdout as they are read.
fn export(config: &Config, from: i64, to: Option<i64>, format: ExportFormat) -> Result<(), Failure> {
    let reader = Store::open_read_only(config.place())?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if format == ExportFormat::Csv {
        print_line(&mut out, "seq,at,actor,api_key,role,action,subject,detail,previous_hash,hash\r\n")?;
    }
    reader.each_audit_entry(from..=to.unwrap_or(i64::MAX), |entry| {
        let text = match format {
            ExportFormat::Json => line(&entry),
            ExportFormat::Csv => csv(&entry),
        };
        print_line(&mut out, &text)
    })?;
    Ok(out.flush().map_err(broken)?)
}

fn print_line(out: &mut impl Write, text: &str) -> Result<(), StoreError> {
    out.write_all(text.as_bytes()).map_err(broken)
}

/// An export that nobody reads to its end is not one: unlike a listing's, its reader must not go away unnoticed.
fn broken(source: std::io::Error) -> StoreError {
    StoreError::Io { path: "stdout".into(), source }
}

/// One record of RFC 4180, every text in quotes.
fn csv(entry: &SealedEntry) -> String {
    let SealedEntry { seq, at, actor, api_key, role, action, subject, detail, previous_hash, hash } = entry;
    let (api_key, role) = (api_key.as_deref().unwrap_or(""), role.as_deref().unwrap_or(""));
    let texts: [&str; 6] = [actor, api_key, role, action, subject, detail];
    let texts = texts.map(|text| format!("\"{}\"", text.replace('"', "\"\"")));
    format!("{seq},{},{},{previous_hash},{hash}\r\n", at.to_jiff(), texts.join(","))
}
