//! Whether a text is a SIP URI that the exchange can send a call to.

/// `sip:user@host`, maybe with a port and parameters, at most 255 bytes of printable ASCII (RFC 3261 section 19.1).
pub fn is_sip_uri(uri: &str) -> bool {
    let is_illegal = |byte: u8| byte <= b' ' || byte >= 0x7f || b"<>\"".contains(&byte);
    let address = uri.strip_prefix("sip:").and_then(|rest| rest.split_once('@'));
    uri.len() <= 255
        && !uri.bytes().any(is_illegal)
        && address.is_some_and(|(user, host)| !user.is_empty() && is_host(host))
}

/// What follows the `@`: a host, maybe a port from 1 to 65535, maybe parameters.
fn is_host(text: &str) -> bool {
    let host = text.split([';', '?']).next().unwrap_or_default();
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    let port = after_address.rsplit_once(':').map(|(_, port)| port);
    !host.is_empty()
        && !host.starts_with(':')
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for good in [
            "203.0.113.7",
            "203.0.113.7:5060;transport=tcp",
            "pbx.example.com:5061",
            "[2001:db8::7]:5060",
            "[::1]",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in
            ["", ":5060", "203.0.113.7:", "203.0.113.7:0", "203.0.113.7:99999", "[::1]:x", ";transport=tcp"]
        {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn whole_uris() {
        for good in ["sip:+18005550100@203.0.113.7", "sip:agent@pbx.example.com:5061;transport=tcp"] {
            assert!(is_sip_uri(good), "{good}");
        }
        let long = format!("sip:{}@example.com", "1".repeat(255));
        for bad in
            ["", "sip:", "sip:@host", "sip:user@", "tel:+18005550100", "sip:a b@host", "sip:a@<host>", &long]
        {
            assert!(!is_sip_uri(bad), "{bad}");
        }
    }
}
