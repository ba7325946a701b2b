//! The words of a clone of protocol version 0: each line of the input is a pkt-line, an empty one a flush; behind a line `--`
//! comes what was advertised. What is asked in the client's name wants what it wanted and was offered, and nothing else; and an
//! answer of version 2 is put into the words of version 0 in the same way however it is cut.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::git::v0::ask::{Asked, asked};
use pullgate::git::v0::reframe::{NotAnAnswer, Part, Reframer};

fn lines(text: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| line.len() < 65_000) {
        match line {
            b"" => said.extend_from_slice(b"0000"),
            line => said.extend([format!("{:04x}", line.len() + 5).as_bytes(), line, b"\n"].concat()),
        }
    }
    said
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn reframed(answer: &[u8], cut: usize) -> Result<Vec<Part>, NotAnAnswer> {
    let (mut reframer, mut parts) = (Reframer::new(answer.starts_with(b"0011")), Vec::new());
    for piece in answer.chunks(cut) {
        parts.extend(reframer.push(piece.to_vec().into()));
        while let Some(part) = reframer.next_part()? {
            parts.push(part);
        }
    }
    Ok(parts)
}

fn joined(parts: &[Part]) -> Vec<u8> {
    let both = |part: &Part| match part {
        Part::Shallow(bytes) | Part::Pack(bytes) => bytes.to_vec(),
    };
    parts.iter().flat_map(both).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let (words, advertised) = find(bytes, b"\n--\n").map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 4..]));
    let (said, offered) = (lines(words), lines(advertised));
    if let Asked::Whole(question, _) = asked(&said, &offered) {
        let question = std::str::from_utf8(&question.bytes).unwrap();
        assert!(question.contains("done\n"), "{question}");
        for want in question.split('\n').filter_map(|line| line.get(4..)?.strip_prefix("want ")) {
            assert!([words, advertised].iter().all(|text| find(text, want.as_bytes()).is_some()), "{want}");
        }
    }
    let whole = reframed(bytes, usize::MAX).map(|parts| joined(&parts));
    let cut = reframed(bytes, 3).map(|parts| joined(&parts));
    assert_eq!(whole, cut);
});
