//! Origins of web pages, as browsers write them (RFC 6454): `https://shop.example`, `http://localhost:5173`.

/// More are a sign that a wildcard was meant.
pub(super) const MAX_ORIGINS: usize = 20;
const MAX_CHARS: usize = 255;

/// Whether a text is an origin in the one spelling that browsers send; the reason when it is not.
pub(super) fn check(origin: &str) -> Result<(), String> {
    let form = || {
        format!("{origin:?} is no origin: write it as browsers send it, such as https://shop.example or http://localhost:5173")
    };
    if origin.contains('*') {
        return Err("a wildcard would let any page in: name each origin".to_owned());
    }
    let (scheme, authority) = origin.split_once("://").ok_or_else(form)?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => !inner.is_empty() && inner.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | ':')),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c))
        }
    };
    let is_port = port.is_none_or(|port| !port.starts_with('0') && port.parse::<u16>().is_ok_and(|port| port > 0));
    if !is_scheme || !is_host || !is_port || origin.len() > MAX_CHARS {
        return Err(form());
    }
    // Browsers leave them out, so an origin with one would never be met.
    if matches!((scheme, port), ("https", Some("443")) | ("http", Some("80"))) {
        return Err(format!("leave the port out of {origin:?}: it is the usual one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends_and_nothing_else() {
        for origin in [
            "https://shop.example",
            "http://localhost:5173",
            "http://127.0.0.1:8080",
            "https://[::1]:8443",
            "http://[::1]",
            "capacitor://localhost",
            "https://xn--bcher-kva.example",
        ] {
            assert_eq!(check(origin), Ok(()), "{origin}");
        }
        for wrong in [
            "",
            "*",
            "null",
            "shop.example",
            "https://*.example",
            "https://shop.example/",
            "https://shop.example/path",
            "https://Shop.example",
            "HTTPS://shop.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://shop.example:",
            "https://shop.example:0",
            "https://shop.example:99999",
            "https://user@shop.example",
            "https://a.example https://b.example",
            "https://bücher.example",
            "https://",
            "://shop.example",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
