//! Simple models that share no code with what they judge: decimals, days, JSON.

/// A decimal as sign, digits without zeros on either end, and the power of ten of the last digit. Zero has no digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    pub negative: bool,
    pub digits: String,
    pub power: i128,
}

impl Decimal {
    /// `[+-]12[.34][e[+-]5]`, nothing else; `.5` and `5.` are numbers too.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let negative = rest.starts_with('-');
        rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        let (mantissa, power) = match rest.split_once(['e', 'E']) {
            None => (rest, 0),
            Some((mantissa, power)) => {
                let digits = power.strip_prefix(['-', '+']).unwrap_or(power);
                if digits.is_empty() || !digits.chars().all(|digit| digit.is_ascii_digit()) {
                    return None;
                }
                let size: i128 = digits
                    .trim_start_matches('0')
                    .get(..30)
                    .map_or_else(|| digits.trim_start_matches('0').parse().unwrap_or(0), |_| 10_i128.pow(30));
                (mantissa, if power.starts_with('-') { -size } else { size })
            }
        };
        let mut digits = String::new();
        let mut places = None;
        for symbol in mantissa.chars() {
            match symbol {
                '0'..='9' => {
                    digits.push(symbol);
                    places = places.map(|places: i128| places + 1);
                }
                '.' if places.is_none() => places = Some(0),
                _ => return None,
            }
        }
        if digits.is_empty() {
            return None;
        }
        let mut power = power - places.unwrap_or(0);
        while digits.len() > 1 && digits.starts_with('0') {
            digits.remove(0);
        }
        while digits.ends_with('0') {
            digits.pop();
            power += 1;
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits, power: 0 });
        }
        Some(Self { negative, digits, power })
    }

    /// How many digits it has written out, on both sides of the point, zeros before the point not counted.
    pub fn digits_written_out(&self) -> i128 {
        let count = i128::try_from(self.digits.len()).unwrap();
        if self.power >= 0 { count + self.power } else { count.max(-self.power) }
    }
}

/// Whether there is such a day in the calendar that is used everywhere.
pub fn day_exists(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=last).contains(&day)
}

/// The day that begins a text, `2026-01-02`, and what follows it; none where there is no such day.
pub fn leading_day(text: &str) -> Option<(&str, &str)> {
    let (day, rest) = text.split_at_checked(10)?;
    let shape: String = day.chars().map(|symbol| if symbol.is_ascii_digit() { '0' } else { symbol }).collect();
    if shape != "0000-00-00" {
        return None;
    }
    let number = |from: usize, to: usize| day[from..to].parse::<u32>().unwrap();
    day_exists(number(0, 4), number(5, 7), number(8, 10)).then_some((day, rest))
}

/// The day of `2026-01-02`, or of an instant as RFC 3339 and databases spell it.
pub fn day_of(text: &str) -> Option<&str> {
    let (day, rest) = leading_day(text)?;
    if rest.is_empty() {
        return Some(day);
    }
    let shape: String = rest.chars().map(|symbol| if symbol.is_ascii_digit() { '0' } else { symbol }).collect();
    let shape = shape.strip_prefix(['T', 't', ' '])?;
    // The clock: hours and minutes, seconds, a fraction.
    let (mut seconds, mut length) = (false, 6);
    let mut zone = shape.strip_prefix("00:00")?;
    if let Some(after) = zone.strip_prefix(":00") {
        (zone, seconds, length) = (after, true, 9);
        if let Some(fraction) = zone.strip_prefix('.') {
            zone = fraction.trim_start_matches('0');
            if zone.len() == fraction.len() {
                return None;
            }
        }
    }
    let clock = &rest[1..length];
    let number = |text: &str| text.parse::<u32>().unwrap();
    let sound = number(&clock[..2]) < 24 && number(&clock[3..5]) < 60 && (!seconds || number(&clock[6..8]) <= 60);
    let offset = &rest[rest.len() - zone.trim_start_matches(' ').len()..];
    let zone_sound = match (zone, zone.trim_start_matches(' ')) {
        ("", _) => true,
        (_, "Z" | "z" | "+00" | "-00" | "+0000" | "-0000" | "+00:00" | "-00:00") => {
            let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
            digits.get(..2).is_none_or(|hours| number(hours) < 24)
                && digits.get(2..4).is_none_or(|minutes| number(minutes) < 60)
        }
        _ => false,
    };
    (sound && zone_sound).then_some(day)
}

/// JSON with its numbers as they are written and its objects as they are repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Why the model says nothing of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is no JSON.
    NotJson,
    /// It is nested so deep that the model does not follow.
    TooDeep,
}

const DEPTH_MAX: usize = 256;

/// Stands in a text for what is no text (half of a pair, bytes that are no UTF-8): it may be skipped, and never shown.
const BROKEN: &str = "\u{10fffe}no text\u{10fffe}";

impl Json {
    pub fn parse(bytes: &[u8]) -> Result<Self, Unread> {
        let mut reader = JsonReader { bytes, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == bytes.len() { Ok(value) } else { Err(Unread::NotJson) }
    }

    pub fn list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The entries of an object with this name.
    pub fn all(&self, name: &str) -> Vec<&Self> {
        let Self::Object(entries) = self else { return Vec::new() };
        entries.iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// The one entry of an object with this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let all = self.all(name);
        if all.len() == 1 { Some(all[0]) } else { None }
    }

    /// A whole number, or its digits as text.
    pub fn whole(&self) -> Option<u64> {
        match self {
            Self::Number(text) | Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

struct JsonReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl JsonReader<'_> {
    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, word: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json, Unread> {
        if depth > DEPTH_MAX {
            return Err(Unread::TooDeep);
        }
        self.space();
        for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if self.takes(word.as_bytes()) {
                return Ok(value);
            }
        }
        match self.bytes.get(self.at) {
            Some(b'"') => self.text().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b'[') => {
                self.at += 1;
                self.items(b']', |reader| reader.value(depth + 1)).map(Json::List)
            }
            Some(b'{') => {
                self.at += 1;
                let entry = |reader: &mut Self| {
                    reader.space();
                    let name = reader.text()?;
                    reader.space();
                    if !reader.takes(b":") {
                        return Err(Unread::NotJson);
                    }
                    Ok((name, reader.value(depth + 1)?))
                };
                self.items(b'}', entry).map(Json::Object)
            }
            _ => Err(Unread::NotJson),
        }
    }

    fn items<T>(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Result<T, Unread>) -> Result<Vec<T>, Unread> {
        let mut items = Vec::new();
        self.space();
        if self.takes(&[end]) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            self.space();
            if self.takes(&[end]) {
                return Ok(items);
            }
            if !self.takes(b",") {
                return Err(Unread::NotJson);
            }
        }
    }

    fn digits(&mut self) -> Result<(), Unread> {
        let began = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == began { Err(Unread::NotJson) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<String, Unread> {
        let began = self.at;
        self.takes(b"-");
        if !self.takes(b"0") {
            self.digits()?;
        }
        if self.takes(b".") {
            self.digits()?;
        }
        if self.takes(b"e") || self.takes(b"E") {
            let _ = self.takes(b"+") || self.takes(b"-");
            self.digits()?;
        }
        Ok(String::from_utf8_lossy(&self.bytes[began..self.at]).into_owned())
    }

    fn text(&mut self) -> Result<String, Unread> {
        if !self.takes(b"\"") {
            return Err(Unread::NotJson);
        }
        let mut bytes = Vec::new();
        loop {
            match self.bytes.get(self.at).ok_or(Unread::NotJson)? {
                b'"' => {
                    self.at += 1;
                    let text = String::from_utf8_lossy(&bytes);
                    let broken = text.len() != bytes.len() || text.as_bytes() != bytes;
                    return Ok(if broken { format!("{text}{BROKEN}") } else { text.into_owned() });
                }
                0..0x20 => return Err(Unread::NotJson),
                b'\\' => {
                    self.at += 1;
                    match self.escape()? {
                        Some(symbol) => bytes.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes()),
                        None => bytes.extend_from_slice(BROKEN.as_bytes()),
                    }
                }
                byte => {
                    bytes.push(*byte);
                    self.at += 1;
                }
            }
        }
    }

    /// None: half of a pair, which stands for no character.
    fn escape(&mut self) -> Result<Option<char>, Unread> {
        let letter = *self.bytes.get(self.at).ok_or(Unread::NotJson)?;
        self.at += 1;
        Ok(Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                let before = self.at;
                if (0xd800..0xdc00).contains(&unit) && self.takes(b"\\u") {
                    let pair = [unit, self.unit()?];
                    if let Some(symbol) = String::from_utf16(&pair).ok().and_then(|text| text.chars().next()) {
                        return Ok(Some(symbol));
                    }
                    self.at = before;
                }
                return Ok(char::from_u32(u32::from(unit)));
            }
            _ => return Err(Unread::NotJson),
        }))
    }

    fn unit(&mut self) -> Result<u16, Unread> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or(Unread::NotJson)?;
        self.at += 4;
        let digits = std::str::from_utf8(digits).map_err(|_| Unread::NotJson)?;
        if digits.starts_with('+') {
            return Err(Unread::NotJson);
        }
        u16::from_str_radix(digits, 16).map_err(|_| Unread::NotJson)
    }
}
