//! The few words in which the table writes what a broker sends; what is sent when is not its matter.
//!
//! `3f` is a byte, `'t'` are those of a text, `[…]` has its length before it in two bytes and `{…}` as a
//! variable byte integer (a packet is `30 { … }`), `9*…` is nine times that, `(…)` belongs together. `id` is the
//! identifier of the packet that is answered, `id+1` the next one, `ok` the answer that is due. `p` is an empty
//! list of properties, and `p{…}` one with these: both are nothing in MQTT 3.1.1. Between bytes, `slowly` has
//! what follows sent one by one, `fin` and `rst` end the connection, and with `mute` nothing follows.

/// What a broker does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Send(Vec<u8>),
    /// Byte by byte.
    Dribble(Vec<u8>),
    End,
    Reset,
    /// Answers nothing any more.
    Mute,
}

/// What is answered, and in which version.
#[derive(Clone, Debug, Default)]
pub struct Occasion {
    pub is_v5: bool,
    pub id: u16,
    pub answer: Vec<u8>,
}

/// What the text says, on this occasion.
pub fn acts(text: &str, occasion: &Occasion) -> Vec<Act> {
    let mut reader = Reader { rest: text.trim_start(), occasion };
    let (mut acts, mut bytes, mut is_slow) = (Vec::new(), Vec::new(), false);
    while !reader.rest.is_empty() {
        let act = match reader.word() {
            "slowly" => None,
            "fin" => Some(Act::End),
            "rst" => Some(Act::Reset),
            "mute" => Some(Act::Mute),
            _ => {
                bytes.extend(reader.item());
                continue;
            }
        };
        reader.skip(reader.word().len());
        acts.extend(sent(std::mem::take(&mut bytes), is_slow));
        is_slow |= act.is_none();
        acts.extend(act);
    }
    acts.extend(sent(bytes, is_slow));
    acts
}

fn sent(bytes: Vec<u8>, is_slow: bool) -> Option<Act> {
    let act = if is_slow { Act::Dribble } else { Act::Send };
    (!bytes.is_empty()).then(|| act(bytes))
}

struct Reader<'a> {
    rest: &'a str,
    occasion: &'a Occasion,
}

impl<'a> Reader<'a> {
    /// The letters and digits that come next.
    fn word(&self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn takes(&mut self, what: &str) -> bool {
        let is_next = self.rest.starts_with(what);
        if is_next {
            self.skip(what.len());
        }
        is_next
    }

    /// All up to the closing bracket.
    fn items(&mut self, close: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !self.takes(close) {
            bytes.extend(self.item());
        }
        bytes
    }

    fn item(&mut self) -> Vec<u8> {
        let word = self.word();
        if let (Ok(count), Some('*')) = (word.parse::<usize>(), self.rest[word.len()..].chars().next()) {
            self.skip(word.len() + 1);
            return self.item().repeat(count);
        }
        match word {
            "" if self.takes("(") => self.items(")"),
            "" if self.takes("{") => with_variable(self.items("}")),
            "" if self.takes("[") => {
                let bytes = self.items("]");
                let length = u16::try_from(bytes.len()).expect("a string is shorter");
                [length.to_be_bytes().to_vec(), bytes].concat()
            }
            "" if self.rest.starts_with('\'') => {
                let (text, _) = self.rest[1..].split_once('\'').expect("a text ends");
                self.skip(text.len() + 2);
                text.replace("\\r", "\r").replace("\\n", "\n").into_bytes()
            }
            "p" => {
                self.skip(1);
                let list = if self.takes("{") { self.items("}") } else { Vec::new() };
                if self.occasion.is_v5 { with_variable(list) } else { Vec::new() }
            }
            "ok" => {
                self.skip(2);
                self.occasion.answer.clone()
            }
            "id" => {
                self.skip(2);
                let id = if self.takes("+1") { self.occasion.id.wrapping_add(1) } else { self.occasion.id };
                id.to_be_bytes().to_vec()
            }
            _ => {
                self.skip(word.len());
                vec![u8::from_str_radix(word, 16).unwrap_or_else(|_| panic!("no such word: {word:?} {}", self.rest))]
            }
        }
    }
}

/// The bytes, with their number before them as a variable byte integer (MQTT 5.0 §1.5.5).
pub fn with_variable(bytes: Vec<u8>) -> Vec<u8> {
    let (mut out, mut left) = (Vec::with_capacity(bytes.len() + 4), bytes.len());
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out.extend(bytes);
    out
}

#[test]
fn what_the_table_says_becomes_bytes() {
    let occasion = Occasion { is_v5: true, id: 0x0105, answer: vec![0x20, 3, 0, 0, 0] };
    let sent = |text| acts(text, &occasion);
    assert_eq!(sent("ok d0{}"), [Act::Send(vec![0x20, 3, 0, 0, 0, 0xd0, 0])]);
    assert_eq!(sent("90 { id+1 p 2*(00 01) }"), [Act::Send(vec![0x90, 7, 1, 6, 0, 0, 1, 0, 1])]);
    assert_eq!(sent("30 { ['a b'] p{ 23 00 } }"), [Act::Send(vec![0x30, 8, 0, 3, b'a', b' ', b'b', 2, 0x23, 0])]);
    assert_eq!(sent("10 rst"), [Act::Send(vec![0x10]), Act::Reset]);
    assert_eq!(sent("slowly 10 mute"), [Act::Dribble(vec![0x10]), Act::Mute]);
    assert_eq!(with_variable(vec![0; 200])[..2], [0xc8, 1]);
    let old = Occasion { is_v5: false, ..occasion };
    assert_eq!(acts("40 { id p{ 1f [ 'x' ] } }", &old), [Act::Send(vec![0x40, 2, 1, 5])]);
}
