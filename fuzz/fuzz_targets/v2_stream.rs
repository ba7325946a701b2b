//! What a client sends behind the advertisement of protocol version 2, in pieces of any size: every byte comes out in its
//! order, and however it is cut, the requests are the same.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::git::v2::frames::{LONGEST_REQUEST, Piece, Splitter};
use pullgate::git::v2::request::{Plan, plan};

/// The requests, and every byte that came out.
fn split(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut splitter, mut requests, mut all) = (Splitter::default(), Vec::new(), Vec::new());
    let mut take = |piece: Piece| match piece {
        Piece::Request(bytes) => {
            assert!(bytes.len() <= LONGEST_REQUEST + 4 && bytes.ends_with(b"0000"));
            all.extend_from_slice(&bytes);
            requests.push(bytes.to_vec());
        }
        Piece::Pass(bytes, _) => all.extend_from_slice(&bytes),
    };
    for piece in stream.chunks(size) {
        splitter.push(piece);
        while let Some(piece) = splitter.next_piece() {
            take(piece);
        }
    }
    while let Some(piece) = splitter.rest() {
        take(piece);
    }
    (requests, all)
}

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    let (requests, all) = split(stream, usize::from(*size).max(1));
    assert_eq!(all, stream);
    assert_eq!(split(stream, stream.len().max(1)).0, requests);
    for request in requests {
        // Equal fetches have one spelling, and that spelling is its own.
        if let Plan::Keep(question) = plan(&request) {
            assert_eq!(plan(&question.bytes), Plan::Keep(question));
        }
    }
});
