//! Percent-encoding, for what is put into addresses and forms.

use std::fmt::Write as _;

/// A text as it stands in an address or a form: everything but unreserved characters percent-encoded.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encoded("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(encoded("eyJpZCI6Mn0="), "eyJpZCI6Mn0%3D");
        assert_eq!(encoded("a+b/c&d ä"), "a%2Bb%2Fc%26d%20%C3%A4");
    }
}
