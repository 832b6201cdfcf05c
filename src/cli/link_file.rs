//! Links from a file, for `attune link add --csv`: the columns that `attune link --csv` writes, read and checked as a whole.
//!
//! Must not know: how links are made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::exit::Exit;
use super::session::Trouble;

/// Rows that one file may have.
const ROWS_MAX: usize = 100_000;

/// Bytes of one file.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Store and CRM, where the file names it → (customer, contact) of each row.
pub(super) type Wanted = BTreeMap<(String, Option<String>), Vec<(String, String)>>;

/// Reads a file: its first line names the columns `store`, `store_key` and `crm_key`, and may name `crm`; others are not looked at.
///
/// # Errors
/// When it cannot be read, or a row is not one: then nothing of it is used.
pub(super) fn read(path: &Path) -> Result<Wanted, Trouble> {
    let file = File::open(path).map_err(|error| refuse(path, &format!("cannot be read: {error}")))?;
    parse(file.take(BYTES_MAX + 1)).map_err(|problem| refuse(path, &problem))
}

fn refuse(path: &Path, problem: &str) -> Trouble {
    Trouble::new(Exit::Usage, format!("{}: {problem}", path.display()))
}

fn parse(text: impl Read) -> Result<Wanted, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
    let columns = reader.headers().map_err(|error| unreadable(&error))?.clone();
    let place = |name: &str| columns.iter().position(|column| column.trim_start_matches('\u{feff}') == name);
    let required = |name: &str| {
        place(name).ok_or_else(|| {
            format!("its first line names no column `{name}`; expected store, store_key and crm_key, as `attune link --csv` writes them")
        })
    };
    let (store, customer, contact) = (required("store")?, required("store_key")?, required("crm_key")?);
    let crm = place("crm");
    let mut wanted = Wanted::new();
    // The header is row 1, as spreadsheets count.
    let mut number = 1;
    for row in reader.into_records() {
        number += 1;
        let row = row.map_err(|error| format!("row {number}: {}", unreadable(&error)))?;
        if number > ROWS_MAX + 1 {
            return Err(format!("has more than {ROWS_MAX} rows: split it"));
        }
        let cell = |place: usize, name: &str| match row.get(place) {
            Some("") | None => {
                Err(format!("row {number}: `{name}` is empty; every row names a customer and a contact"))
            }
            Some(text) => Ok(text.to_owned()),
        };
        let named = crm.and_then(|place| row.get(place)).filter(|name| !name.is_empty()).map(str::to_owned);
        let keys = (cell(customer, "store_key")?, cell(contact, "crm_key")?);
        wanted.entry((cell(store, "store")?, named)).or_default().push(keys);
    }
    if wanted.is_empty() {
        return Err("has no rows".to_owned());
    }
    Ok(wanted)
}

/// What is wrong with a row, without what it holds.
fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells where {expected_len} are expected")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        csv::ErrorKind::Io(error) => format!("cannot be read: {error}"),
        _ => "not CSV".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wanted, String> {
        parse(text.as_bytes())
    }

    #[test]
    fn what_the_list_writes_is_read_again() {
        let text = "\u{feff}store,crm,store_key,crm_key,state,detail\r\nacme,erp,41, C-7 ,ambiguous,\"erp C-7, erp C-8\"\r\nacme,,42,\"a,b\",,\r\n";
        let wanted = read(text).unwrap();
        let keys = |customer: &str, contact: &str| vec![(customer.to_owned(), contact.to_owned())];
        assert_eq!(wanted[&("acme".to_owned(), Some("erp".to_owned()))], keys("41", "C-7"));
        assert_eq!(wanted[&("acme".to_owned(), None)], keys("42", "a,b"));
        assert_eq!(read("crm_key,store,store_key\n7,acme,1\n").unwrap()[&("acme".to_owned(), None)], keys("1", "7"));
    }

    #[test]
    fn a_file_with_a_bad_row_is_refused_as_a_whole_and_names_it() {
        for (text, says) in [
            ("", "no column `store`"),
            ("store,store_key\nacme,1\n", "no column `crm_key`"),
            ("store,store_key,crm_key\n", "no rows"),
            ("store,store_key,crm_key\nacme,1,7\nacme,2,\n", "row 3: `crm_key` is empty"),
            ("store,store_key,crm_key\nacme,1,7\nacme,2\n", "row 3: 2 cells where 3 are expected"),
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains(says), "{text:?}: {problem}");
        }
        assert!(parse(&b"store,store_key,crm_key\nacme,\xff,1\n"[..]).unwrap_err().contains("not UTF-8"));
        let many = format!("store,store_key,crm_key\n{}", "a,1,1\n".repeat(ROWS_MAX + 1));
        assert!(read(&many).unwrap_err().contains("split it"));
    }
}
