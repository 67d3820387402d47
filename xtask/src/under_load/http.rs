//! A client of the exchange's API: HTTP/1.1, one request a connection, on loopback only.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest an answer may take. The exchange itself gives up earlier.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Where the API is, and a key to it.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

impl Api {
    /// One request: the answer's status and text. An error means that no whole answer came.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, String)> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(self.address).context("connecting")?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: exchange\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).context("sending")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("reading")?;
        read_answer(&answer)
    }

    /// JSON that must be there.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = self.ask("GET", path, None)?;
        if status != 200 {
            bail!("GET {path}: {status} {body}");
        }
        serde_json::from_str(&body).with_context(|| format!("GET {path}: reading the JSON"))
    }

    /// A command that must be carried out.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let (status, answer) = self.ask(method, path, Some(body))?;
        if !(200..300).contains(&status) {
            bail!("{method} {path}: {status} {answer}");
        }
        Ok(())
    }

    /// Every item of a listing, page by page.
    pub(crate) fn list(&self, path: &str, mut take: impl FnMut(&Value) -> Result<()>) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = self.get(&format!("{path}?limit=200{after}"))?;
            for item in page["items"].as_array().context("a listing has items")? {
                take(item)?;
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(()),
            }
        }
    }
}

/// Takes an answer apart. One that was cut off by a kill is an error, never a success.
fn read_answer(answer: &[u8]) -> Result<(u16, String)> {
    let answer = std::str::from_utf8(answer).context("the answer is not UTF-8")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer was cut off")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if length != Some(body.len()) {
        bail!("the answer was cut off");
    }
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::read_answer;

    #[test]
    fn only_a_whole_answer_counts() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(read_answer(whole).expect("whole"), (200, "{}".to_owned()));
        for length in 0..whole.len() {
            assert!(read_answer(&whole[..length]).is_err(), "{length} bytes");
        }
    }
}
