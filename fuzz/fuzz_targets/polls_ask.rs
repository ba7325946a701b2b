//! A question for refs: as bytes, and as lines, of which each is a pkt-line and an empty one the delimiter. What is understood
//! has one meaning: asked again in our own spelling, it is the same question.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::git::polls::ask::{Ask, everything};

fn line(request: &mut Vec<u8>, start: &str, rest: &[u8]) {
    request.extend_from_slice(format!("{:04x}{start}", start.len() + rest.len() + 5).as_bytes());
    request.extend_from_slice(rest);
    request.push(b'\n');
}

/// The question, in our spelling.
fn spell(ask: &Ask) -> Vec<u8> {
    let mut request = Vec::new();
    line(&mut request, "command=ls-refs", b"");
    if let Some(format) = &ask.format {
        line(&mut request, "object-format=", format.as_bytes());
    }
    request.extend_from_slice(b"0001");
    for (word, so) in [("peel", ask.peel), ("symrefs", ask.symrefs), ("unborn", ask.unborn)] {
        if so {
            line(&mut request, word, b"");
        }
    }
    for prefix in &ask.prefixes {
        line(&mut request, "ref-prefix ", prefix);
    }
    request.extend_from_slice(b"0000");
    request
}

fn check(request: &[u8]) {
    let Some(ask) = Ask::parse(request) else { return };
    assert_eq!(Ask::parse(&spell(&ask)).as_ref(), Some(&ask));
    assert!(ask.prefixes.iter().all(|prefix| ask.wants(prefix)));
    assert!(!ask.prefixes.is_empty() || ask.wants(b"anything"));
    // No byte can be missing, and none can be there too many.
    assert_eq!(Ask::parse(&request[..request.len() - 1]), None);
    assert_eq!(Ask::parse(&[request, b"0000"].concat()), None);
}

fuzz_target!(|input: &[u8]| {
    check(input);
    let mut request = Vec::new();
    for text in input.split(|byte| *byte == b'\n').filter(|text| text.len() < 65_000) {
        match text {
            b"" => request.extend_from_slice(b"0001"),
            text => line(&mut request, "", text),
        }
    }
    request.extend_from_slice(b"0000");
    check(&request);
    if let Some(Ask { format: Some(format), .. }) = Ask::parse(&request)
        && !format.contains('\n')
    {
        let every = Ask::parse(&everything(&format)).unwrap();
        assert!(every.format.as_ref() == Some(&format) && every.peel && every.symrefs && every.unborn);
    }
});
