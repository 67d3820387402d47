//! Cuts a byte stream into messages (RFC 3261 section 18.3, RFC 5626 section 3.5.1 for keep-alives).

use crate::field;
use crate::header::Name;
use crate::parse::{LINE_BYTES_MAX, MESSAGE_BYTES_MAX, find};

/// Something whole that was found in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The bytes of one message.
    Message(Vec<u8>),
    /// A ping (two line breaks): answer with one line break.
    Ping,
}

/// A stream that cannot be followed any further; close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The head or the whole message is longer than we take.
    #[error("message over {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// Without a length nobody knows where the next message begins.
    #[error("no usable Content-Length")]
    NoContentLength,
}

/// Collects the bytes of one connection.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes already searched for the end of a head.
    searched: usize,
    /// Whole length of the message being received, once its head is there.
    message_length: Option<usize>,
}

impl Framer {
    /// Takes in received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a message has begun and not ended.
    pub fn is_mid_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next whole thing, if it has arrived.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.message_length.is_none() {
            if self.take_ping() {
                return Ok(Some(Frame::Ping));
            }
            self.message_length = self.find_length()?;
        }
        match self.message_length {
            Some(length) if self.buffer.len() >= length => {
                let rest = self.buffer.split_off(length);
                self.searched = 0;
                self.message_length = None;
                Ok(Some(Frame::Message(std::mem::replace(&mut self.buffer, rest))))
            }
            _ => Ok(None),
        }
    }

    /// Drops line breaks between messages; two of them are a ping.
    fn take_ping(&mut self) -> bool {
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.buffer.drain(..4);
            return true;
        }
        // One line break may be the first half of a ping, so it stays until more is there.
        if self.buffer.starts_with(b"\r\n") && self.buffer.get(2).is_some_and(|next| *next != b'\r') {
            self.buffer.drain(..2);
        }
        false
    }

    fn find_length(&mut self) -> Result<Option<usize>, FramingError> {
        let from = self.searched.saturating_sub(3);
        let Some(head_end) = find(&self.buffer[from..], b"\r\n\r\n").map(|at| from + at) else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > MESSAGE_BYTES_MAX { Err(FramingError::TooLong) } else { Ok(None) };
        };
        let body = content_length(&self.buffer[..head_end]).ok_or(FramingError::NoContentLength)?;
        let length = head_end + 4 + body;
        if length > MESSAGE_BYTES_MAX { Err(FramingError::TooLong) } else { Ok(Some(length)) }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let mut lengths =
        head.split(|b| *b == b'\n').filter(|line| line.len() <= LINE_BYTES_MAX).filter_map(|line| {
            let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
            (Name::read(name.trim_end()) == Name::ContentLength).then_some(value.trim())
        });
    let length = field::read_number(lengths.next()?)?;
    // Two lengths are how messages are smuggled: the stream is not to be trusted.
    if lengths.next().is_some() { None } else { usize::try_from(length).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nl : 4\r\n\r\nbody";
    const SECOND: &[u8] = b"SIP/2.0 200 OK\r\nContent-Length:0\r\n\r\n";

    fn frames(chunks: &[&[u8]]) -> Result<Vec<Frame>, FramingError> {
        let mut framer = Framer::default();
        let mut found = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            while let Some(frame) = framer.next_frame()? {
                found.push(frame);
            }
        }
        Ok(found)
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_frames() {
        let stream = [FIRST, b"\r\n\r\n", b"\r\n", SECOND].concat();
        let expected = vec![Frame::Message(FIRST.to_vec()), Frame::Ping, Frame::Message(SECOND.to_vec())];
        for cut in 0..stream.len() {
            let (left, right) = stream.split_at(cut);
            assert_eq!(frames(&[left, right]).as_ref(), Ok(&expected), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&bytes), Ok(expected));
    }

    #[test]
    fn a_stream_that_cannot_be_followed_is_an_error() {
        let endless = vec![b'x'; MESSAGE_BYTES_MAX + 1];
        let cases: [(&[u8], FramingError); 5] = [
            (b"OPTIONS sip:a SIP/2.0\r\n\r\n", FramingError::NoContentLength),
            (b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n", FramingError::NoContentLength),
            (b"OPTIONS sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\n", FramingError::NoContentLength),
            (b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 65536\r\n\r\n", FramingError::TooLong),
            (&endless, FramingError::TooLong),
        ];
        for (stream, error) in cases {
            assert_eq!(frames(&[stream]), Err(error), "{}", String::from_utf8_lossy(&stream[..20]));
        }
    }
}
