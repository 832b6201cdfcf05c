//! Query strings, read as strictly as BigCommerce reads them: an unknown parameter refuses the call.
//!
//! Must not know: what is selected.

use super::answer::Refusal;
use super::dates::{Seconds, parse_filter};
use super::settings::DateBounds;

/// The greatest page.
const LIMIT_MAX: u64 = 250;
/// The page when nothing is said.
const LIMIT_DEFAULT: u64 = 50;

/// A query whose parameters are all known.
#[derive(Debug)]
pub(super) struct Query<'raw> {
    /// Decoded name, raw value.
    pairs: Vec<(String, &'raw str)>,
}

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paging {
    /// From 1.
    pub(super) page: u64,
    /// Rows a page, 1 to 250.
    pub(super) limit: u64,
}

impl Paging {
    /// The part of all rows that is on this page.
    pub(super) fn slice(self, ids: &[u64]) -> &[u64] {
        let start = usize::try_from((self.page - 1).saturating_mul(self.limit)).unwrap_or(usize::MAX).min(ids.len());
        let end = start.saturating_add(self.limit as usize).min(ids.len());
        &ids[start..end]
    }
}

/// What the parameters about one date ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DateFilter {
    exact: Option<Seconds>,
    min: Option<Seconds>,
    max: Option<Seconds>,
}

impl DateFilter {
    /// Whether a date is asked for.
    pub(super) fn matches(&self, date: Seconds, bounds: DateBounds) -> bool {
        let inclusive = bounds == DateBounds::Inclusive;
        self.exact.is_none_or(|exact| date == exact)
            && self.min.is_none_or(|min| date > min || (inclusive && date == min))
            && self.max.is_none_or(|max| date < max || (inclusive && date == max))
    }

    /// Whether every date is asked for.
    pub(super) const fn is_any(&self) -> bool {
        self.exact.is_none() && self.min.is_none() && self.max.is_none()
    }

    /// Nothing before this can match.
    pub(super) fn lowest(&self) -> Option<Seconds> {
        self.exact.max(self.min)
    }
}

fn refuse(title: impl Into<String>) -> Refusal {
    Refusal::new(422, title).violating()
}

impl<'raw> Query<'raw> {
    /// Splits a raw query and holds it to the parameters that an endpoint knows.
    pub(super) fn parse(raw: Option<&'raw str>, known: &[&str]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, &str)> = Vec::new();
        let mut unknown = Vec::new();
        for part in raw.into_iter().flat_map(|raw| raw.split('&')) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name).unwrap_or_else(|| name.to_owned());
            // A stray `&` is a parameter without a name, and that is no valid filter.
            if !known.contains(&name.as_str()) {
                unknown.push(name);
            } else if pairs.iter().any(|(other, _)| *other == name) {
                return Err(refuse(format!("The filter {name} is given twice.")));
            } else {
                pairs.push((name, value));
            }
        }
        if unknown.is_empty() {
            Ok(Self { pairs })
        } else {
            Err(refuse(format!("The filter(s): {} are not valid filter parameter(s).", unknown.join(", "))))
        }
    }

    /// The value as it stands in the URL.
    pub(super) fn raw(&self, name: &str) -> Option<&'raw str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A text, decoded.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        self.raw(name).map(|raw| decode(raw).ok_or_else(|| invalid(name))).transpose()
    }

    /// A comma-separated list of texts, decoded; an empty one is refused.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        // `%2C` separates too: a server splits what it has decoded, or takes it as part of a value; no client may rely
        // on either, and only what a plain comma separates means the same to both.
        let texts: Vec<String> =
            raw.split(',').map(|text| decode(text).ok_or_else(|| invalid(name))).collect::<Result<_, _>>()?;
        if texts.iter().all(String::is_empty) { Err(invalid(name)) } else { Ok(Some(texts)) }
    }

    /// A comma-separated list of ids; an empty one is refused.
    pub(super) fn ids(&self, name: &str) -> Result<Option<Vec<u64>>, Refusal> {
        let Some(texts) = self.texts(name)? else { return Ok(None) };
        texts.iter().map(|text| text.parse().map_err(|_| invalid(name))).collect::<Result<_, _>>().map(Some)
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, Refusal> {
        match self.raw(name) {
            None => Ok(default),
            Some(raw) => raw.parse().ok().filter(|&number| number > 0).ok_or_else(|| invalid(name)),
        }
    }

    /// `page` and `limit`.
    pub(super) fn paging(&self) -> Result<Paging, Refusal> {
        let paging = Paging { page: self.number("page", 1)?, limit: self.number("limit", LIMIT_DEFAULT)? };
        if paging.limit > LIMIT_MAX {
            // "413: the limit parameter exceeded the maximum" (the page about status codes).
            let title = format!("The limit parameter exceeded the maximum of {LIMIT_MAX}.");
            return Err(Refusal::new(413, title).violating());
        }
        Ok(paging)
    }

    /// `NAME`, `NAME:min`, `NAME:max`. `unix`: whether a Unix time is taken too.
    pub(super) fn dates(&self, name: &str, unix: bool, now: Seconds) -> Result<DateFilter, Refusal> {
        let read = |name: String| -> Result<Option<Seconds>, Refusal> {
            let Some(raw) = self.raw(&name) else { return Ok(None) };
            parse_filter(raw, unix, now).map(Some).ok_or_else(|| {
                // https://github.com/bigcommerce/docs/issues/620: `%3A` in a date does not work.
                invalid(&name).because(name.as_str(), format!("{raw} is not a date"))
            })
        };
        Ok(DateFilter {
            exact: read(name.to_owned())?,
            min: read(format!("{name}:min"))?,
            max: read(format!("{name}:max"))?,
        })
    }

    /// The parameters but for those that say which page, as they stood, each with a leading `&`.
    pub(super) fn others(&self) -> String {
        let mut others = String::new();
        for (name, value) in &self.pairs {
            if !matches!(name.as_str(), "page" | "limit" | "after" | "before") {
                others.push('&');
                others.push_str(name);
                others.push('=');
                others.push_str(value);
            }
        }
        others
    }
}

/// A parameter with a value that means nothing.
pub(super) fn invalid(name: &str) -> Refusal {
    refuse(format!("The value of the filter {name} is not valid."))
}

/// Percent-decodes; a plus sign is a space. None: not UTF-8, or half an escape.
pub(super) fn decode(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
