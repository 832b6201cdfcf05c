//! What a request says of where it comes from: its host, its cookie, whether it came by HTTPS, whether our own page sent
//! it. Pure.

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};

/// The cookie's name.
const NAME: &str = "attune_session";

/// The longest path that a form may lead back to.
const PATH_CHARS_MAX: usize = 512;

/// What a header holds, where it is text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The host that the browser was told to go to.
pub(super) fn host(headers: &HeaderMap) -> &str {
    text(headers, HOST.as_str()).unwrap_or_default()
}

/// What our cookie holds. There may be others of its name: a browser tells hosts apart, not ports.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

/// A cookie that holds this for as long as the browser is open; nothing: it is taken back.
pub(super) fn cookie(held: Option<&str>, https: bool) -> Option<HeaderValue> {
    let secure = if https { "; Secure" } else { "" };
    let (held, over) = held.map_or(("", "; Max-Age=0"), |held| (held, ""));
    HeaderValue::from_str(&format!("{NAME}={held}; Path=/; HttpOnly; SameSite=Strict{over}{secure}")).ok()
}

/// Whether a proxy says that the browser came to it by HTTPS. Who lies about it only makes his own cookie stricter.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    let first = |name| text(headers, name).and_then(|list| list.split(',').next()).unwrap_or_default();
    first("x-forwarded-proto").trim().eq_ignore_ascii_case("https")
        || first("forwarded").split(';').any(|part| part.trim().eq_ignore_ascii_case("proto=https"))
}

/// Whether a form may have come from our own page, as far as the browser says. Beside it stands the token in the form.
///
/// `Sec-Fetch-Site` is sent by every browser of today to a host of its own machine or over HTTPS, and is right whatever a
/// proxy makes of the host. Otherwise `Origin` must name our host; it says `null` where a page with our referrer policy
/// sends a form over plain HTTP, and nothing in programs that are no browsers.
pub(super) fn is_from_our_page(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    match headers.get(ORIGIN) {
        None => true,
        Some(origin) if origin == "null" => true,
        Some(origin) => {
            let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host(headers)))
        }
    }
}

/// A path of our own to go on to; anything else is `/`.
pub(super) fn local(path: &str) -> &str {
    let ours = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= PATH_CHARS_MAX
        && path.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'\\');
    if ours { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_form_comes_from_our_page_or_is_refused() {
        let host = ("host", "attune.example:8443");
        for (more, ours) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://behind.a.proxy")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://attune.example:8443")], false),
            (&[("origin", "https://attune.example:8443")], true),
            (&[("origin", "HTTPS://ATTUNE.example:8443")], true),
            (&[("origin", "null")], true),
            (&[("origin", "https://attune.example")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://evil.example://attune.example:8443")], false),
            (&[("origin", "attune.example:8443")], false),
        ] {
            let pairs: Vec<_> = std::iter::once(host).chain(more.iter().copied()).collect();
            assert_eq!(is_from_our_page(&headers(&pairs)), ours, "{more:?}");
        }
    }

    #[test]
    fn cookies_of_others_are_not_ours() {
        let sent = headers(&[("cookie", "a=b; attune_session=one; attune_sessions=no;attune_session=two")]);
        assert_eq!(cookies(&sent).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(cookies(&headers(&[])).count(), 0);
    }

    #[test]
    fn a_cookie_is_as_strict_as_it_can_be() {
        let plain = cookie(Some("x"), false).unwrap();
        assert_eq!(plain, "attune_session=x; Path=/; HttpOnly; SameSite=Strict");
        let back = cookie(None, true).unwrap();
        assert_eq!(back, "attune_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure");
    }

    #[test]
    fn https_is_what_a_proxy_says() {
        assert!(is_https(&headers(&[("x-forwarded-proto", "https, http")])));
        assert!(is_https(&headers(&[("forwarded", "for=192.0.2.1;Proto=https, for=10.0.0.1;proto=http")])));
        assert!(!is_https(&headers(&[("x-forwarded-proto", "http")])));
        assert!(!is_https(&headers(&[])));
    }

    #[test]
    fn a_form_leads_back_to_ourselves_alone() {
        assert_eq!(local("/held?store=acme&after=7"), "/held?store=acme&after=7");
        for elsewhere in ["", "held", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/é"] {
            assert_eq!(local(elsewhere), "/", "{elsewhere}");
        }
    }
}
