//! Defines a segment, the unit in which a recording is written and read: a label and one zstd frame of lines; what the lines say is elsewhere.

use std::io;

use crate::clock::Moment;

/// What is known of a segment without unpacking it. In the file it is a skippable frame (RFC 8878
/// §3.1.2) before the frame of lines, so that any zstd tool reads the lines and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Whether it begins with how everything stands: reading can start here.
    pub is_entrance: bool,
    /// Whether it is the last one of a run that ended in good order.
    pub is_end: bool,
    /// Whether it begins with the head of another fleet than that of the segments before it.
    pub has_head: bool,
    /// Bytes of the zstd frame that follows.
    pub packed: u32,
    /// Bytes of the lines in it.
    pub unpacked: u32,
    /// The number of lines.
    pub lines: u32,
    /// The times of its earliest and its latest line.
    pub first: Moment,
    pub last: Moment,
    /// Connections lost in it.
    pub lost: u32,
    /// Clients at its end: up, slow among these, and down although they are meant to be up.
    pub up: u32,
    pub slow: u32,
    pub down: u32,
}

impl Label {
    /// One of the sixteen magic numbers of skippable frames.
    const MAGIC: u32 = 0x184D_2A5A;
    const NAME: [u8; 4] = *b"mqfl";
    const VERSION: u8 = 1;
    const CONTENT: usize = 4 + 4 + 7 * 4 + 2 * 8;
    /// Bytes of a label in the file.
    pub const LEN: usize = 8 + Self::CONTENT;
    /// The most that lines may unpack to; a label that says more is damaged, or malicious. What is no
    /// entrance is closed at 256 KiB, and ends with the line that passes that.
    const ENTRANCE_MAX: u32 = 256 << 20;
    const OTHER_MAX: u32 = 4 << 20;
    /// The most that a byte of the file may stand for. That of idle clients, whose lines differ in a
    /// number only, was seen to stand for 160.
    const RATIO_MAX: u64 = 1_000;

    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend(Self::MAGIC.to_le_bytes());
        out.extend((Self::CONTENT as u32).to_le_bytes());
        out.extend(Self::NAME);
        out.extend([
            Self::VERSION,
            u8::from(self.is_entrance) | u8::from(self.is_end) << 1 | u8::from(self.has_head) << 2,
            0,
            0,
        ]);
        for number in [self.packed, self.unpacked, self.lines, self.lost, self.up, self.slow, self.down] {
            out.extend(number.to_le_bytes());
        }
        for moment in [self.first, self.last] {
            out.extend(moment.0.to_le_bytes());
        }
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads a label; `None` where these bytes are none.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Label> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let is_label = u32_at(0) == Self::MAGIC
            && u32_at(4) == Self::CONTENT as u32
            && bytes[8..12] == Self::NAME
            && bytes[12] == Self::VERSION;
        let label = Label {
            is_entrance: bytes[13] & 1 != 0,
            is_end: bytes[13] & 2 != 0,
            has_head: bytes[13] & 4 != 0,
            packed: u32_at(16),
            unpacked: u32_at(20),
            lines: u32_at(24),
            lost: u32_at(28),
            up: u32_at(32),
            slow: u32_at(36),
            down: u32_at(40),
            first: Moment(u64_at(44)),
            last: Moment(u64_at(52)),
        };
        (is_label && label.is_sound()).then_some(label)
    }

    /// Whether what it says of itself can be: nobody is to work longer, or need more memory, than the file
    /// is large.
    fn is_sound(&self) -> bool {
        let (packed, unpacked) = (u64::from(self.packed), u64::from(self.unpacked));
        let most = if self.is_entrance { Self::ENTRANCE_MAX } else { Self::OTHER_MAX };
        // zstd never makes more of anything than this (ZSTD_COMPRESSBOUND, and a frame's own bytes).
        let is_packed = packed <= unpacked + unpacked / 128 + 1_024;
        is_packed && self.unpacked <= most && unpacked <= packed * Self::RATIO_MAX && self.first <= self.last
    }
}

/// Lines on their way into a segment.
#[derive(Debug, Default)]
pub(super) struct Draft {
    text: Vec<u8>,
    lines: u32,
    span: Option<(Moment, Moment)>,
    pub lost: u32,
}

impl Draft {
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Bytes of lines so far.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Adds a line of this time.
    pub fn push(&mut self, at: Moment, line: &str) {
        self.text.extend_from_slice(line.as_bytes());
        self.text.push(b'\n');
        self.lines += 1;
        self.touch(at);
    }

    /// Adds the head's lines, which have no time of their own.
    pub fn push_head(&mut self, at: Moment, lines: &str) {
        self.text.extend_from_slice(lines.as_bytes());
        self.lines += lines.lines().count() as u32;
        self.touch(at);
    }

    fn touch(&mut self, at: Moment) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    /// The segment's bytes, label and frame, with the label itself; what was drafted is gone then.
    ///
    /// # Errors
    /// Where zstd fails, or where there are more bytes of lines than a reader takes in a segment.
    pub fn finish(
        &mut self,
        packer: &mut zstd::bulk::Compressor<'_>,
        mark: impl FnOnce(&mut Label),
    ) -> io::Result<(Label, Vec<u8>)> {
        let Draft { text, lines, span, lost } = std::mem::take(self);
        let packed = packer.compress(&text)?;
        let too_long = |_| io::Error::other("a segment of the recording is too long");
        let (first, last) = span.unwrap_or_default();
        let mut label = Label {
            packed: u32::try_from(packed.len()).map_err(too_long)?,
            unpacked: u32::try_from(text.len()).map_err(too_long)?,
            lines,
            first,
            last,
            lost,
            ..Label::default()
        };
        mark(&mut label);
        if !label.is_sound() {
            let most = if label.is_entrance { Label::ENTRANCE_MAX } else { Label::OTHER_MAX };
            let text = format!(
                "a segment would be {} MiB, of at most {}: so many clients cannot be recorded",
                text.len() >> 20,
                most >> 20
            );
            return Err(io::Error::other(text)); // no reader would take it
        }
        let mut bytes = Vec::with_capacity(Label::LEN + packed.len());
        bytes.extend_from_slice(&label.to_bytes());
        bytes.extend_from_slice(&packed);
        Ok((label, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_reader_would_take_is_not_written() {
        let mut packer = zstd::bulk::Compressor::new(1).unwrap();
        for (bytes, is_entrance, is_written) in
            [(Label::OTHER_MAX, false, true), (Label::OTHER_MAX + 1, false, false), (Label::OTHER_MAX + 1, true, true)]
        {
            let mut draft = Draft::default();
            let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(b' '..b'~')).take(bytes as usize - 1).collect();
            draft.push(Moment(1), &String::from_utf8(noise).unwrap());
            let written = draft.finish(&mut packer, |label| label.is_entrance = is_entrance);
            assert_eq!(written.is_ok(), is_written, "{bytes} {is_entrance}");
            if let Ok((label, segment)) = written {
                assert_eq!(Label::from_bytes(segment[..Label::LEN].try_into().unwrap()), Some(label));
            }
        }
    }

    #[test]
    fn a_label_reads_back_and_other_bytes_are_none() {
        let label = Label {
            is_entrance: true,
            is_end: true,
            has_head: true,
            packed: 812,
            unpacked: 70_000,
            lines: 400,
            first: Moment(1 << 40),
            last: Moment((1 << 40) + 999_999),
            lost: 3,
            up: 197,
            slow: 5,
            down: 3,
        };
        let bytes = label.to_bytes();
        assert_eq!(Label::from_bytes(&bytes), Some(label));
        for at in (0..13).chain(Label::LEN - 1..Label::LEN) {
            let mut other = bytes;
            other[at] ^= 0x80;
            assert_ne!(Label::from_bytes(&other), Some(label), "byte {at} does not matter");
        }
        assert_eq!(Label::from_bytes(&[0; Label::LEN]), None);
        let entrance = Label { is_entrance: true, ..Label::default() };
        for (label, is_sound) in [
            (Label { packed: 27_000, unpacked: 4 << 20, ..Label::default() }, true),
            (Label { packed: 27_000, unpacked: (4 << 20) + 1, ..Label::default() }, false),
            (Label { packed: 1_000_000, unpacked: 256 << 20, ..entrance }, true),
            (Label { packed: 1_000_000, unpacked: (256 << 20) + 1, ..entrance }, false),
            (Label { packed: 26_000, unpacked: 256 << 20, ..entrance }, false),
            (Label { packed: u32::MAX, unpacked: 70_000, ..entrance }, false),
            (Label { packed: 13, unpacked: 0, ..entrance }, true),
            (Label { last: Moment(1), first: Moment(2), ..Label::default() }, false),
        ] {
            assert_eq!(Label::from_bytes(&label.to_bytes()), is_sound.then_some(label));
        }
    }

    #[test]
    fn a_tool_that_knows_only_zstd_reads_the_lines() {
        let mut packer = zstd::bulk::Compressor::new(3).unwrap();
        let mut file = Vec::new();
        for n in 0..3 {
            let mut draft = Draft::default();
            draft.push(Moment(n), &format!("line {n}"));
            file.extend(draft.finish(&mut packer, |_| {}).unwrap().1);
            assert!(draft.is_empty());
        }
        let text = zstd::stream::decode_all(&*file).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "line 0\nline 1\nline 2\n");
    }
}
