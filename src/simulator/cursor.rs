//! Cursors of the list of customers: `{"id":204}` in unpadded base64, as BigCommerce's example `eyJpZCI6MjA0fQ`.
//!
//! Must not know: what is listed.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The cursor of a row.
pub(super) fn write(id: u64) -> String {
    let plain = format!("{{\"id\":{id}}}");
    let mut text = String::with_capacity(plain.len() * 4 / 3 + 1);
    for chunk in plain.as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}

/// The row of a cursor; none if it is not one of ours.
pub(super) fn read(text: &str) -> Option<u64> {
    let mut bytes = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for at in 0..4 {
            let digit = match chunk.get(at) {
                Some(symbol) => ALPHABET.iter().position(|known| known == symbol)? as u32,
                None => 0,
            };
            bits = bits << 6 | digit;
        }
        bytes.extend(&bits.to_be_bytes()[1..chunk.len()]);
    }
    let plain = String::from_utf8(bytes).ok()?;
    plain.strip_prefix("{\"id\":")?.strip_suffix('}')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_in_the_documents_and_read_back() {
        assert_eq!(write(204), "eyJpZCI6MjA0fQ");
        for id in [0, 1, 10, 204, 12_345, 999_999, u64::MAX] {
            assert_eq!(read(&write(id)), Some(id));
        }
        for odd in ["", "eyJpZCI6MjA0fQ==", "204", "eyJpZCI6", "ünicode"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
