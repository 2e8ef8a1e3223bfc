//! PyTorch files of a stranger: a zip that is written by hand, so that its numbers can lie.

/// A zip with uncompressed files, each with the size that it claims.
fn zip(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content, claimed) in files {
        let at = out.len() as u32;
        let sizes = [claimed.to_le_bytes(), claimed.to_le_bytes()].concat();
        let length = (name.len() as u16).to_le_bytes();
        out.extend([b"PK\x03\x04", &[0; 14][..], &sizes, &length, &[0; 2], name.as_bytes(), content].concat());
        let head = [b"PK\x01\x02", &[0; 16][..], &sizes, &length, &[0; 12], &at.to_le_bytes(), name.as_bytes()];
        directory.extend(head.concat());
    }
    let (count, start, size) = (files.len() as u16, out.len() as u32, directory.len() as u32);
    out.extend(&directory);
    out.extend([b"PK\x05\x06", &[0; 4][..], &count.to_le_bytes(), &count.to_le_bytes()].concat());
    out.extend([&size.to_le_bytes()[..], &start.to_le_bytes(), &[0; 2]].concat());
    out
}

/// A checkpoint with this pickle and a storage of four floats.
pub(crate) fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    zip(&[("a/data.pkl", pickle, pickle.len() as u32), ("a/data/0", &[0; 16], 16)])
}

/// The pickle of a dict with one tensor of this size and these strides, on the storage of four floats.
fn tensor(size: &[u32], strides: &[u32]) -> Vec<u8> {
    let numbers = |all: &[u32]| {
        let each = all.iter().flat_map(|n| [&[b'J'][..], &n.to_le_bytes()].concat());
        [vec![b'('], each.collect(), vec![b't']].concat()
    };
    let text = |text: &str| [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let storage = [vec![b'('], text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text("0"), text("cpu")].concat();
    [
        &[0x80, 2, b'}'][..],
        &text("weight"),
        b"ctorch._utils\n_rebuild_tensor_v2\n(",
        &storage,
        b"K\x04tQK\x00",
        &numbers(size),
        &numbers(strides),
        b"\x89}tRs.",
    ]
    .concat()
}

/// Checkpoints that claim sizes, or make some.
pub(crate) fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let most = u32::MAX - 1;
    // A list of ten of the one before, forty times.
    let mut laugh = vec![0x80, 2, b']', b'q', 0];
    for at in 0..40u8 {
        laugh.extend([b']', b'(']);
        laugh.extend([b'h', at].repeat(10));
        laugh.extend([b'e', b'q', at + 1]);
    }
    laugh.push(b'.');
    let text = [&[0x80, 2, b'X'][..], &[0xff; 4], b"short."].concat();
    let long = [&[0x80, 4, 0x8d][..], &[0xff; 8], b"short."].concat();
    let empty = [&[0x80, 2][..], &b"]".repeat(8 << 20), b"."].concat();
    let dicts = [&[0x80, 2, b'('][..], &b"}".repeat((1 << 21) - 8), b"l."].concat();
    let deep = [&[0x80, 2][..], &b"]".repeat(100_000), &b"a".repeat(99_999), b"."].concat();
    vec![
        ("a pickle that is larger than its file", zip(&[("a/data.pkl", b"\x80\x02}.", most)])),
        ("a storage that is larger than its file", {
            let pickle = tensor(&[most / 4], &[1]);
            zip(&[("a/data.pkl", &pickle, pickle.len() as u32), ("a/data/0", &[0; 16], most)])
        }),
        ("a tensor that is larger than its storage", checkpoint(&tensor(&[1 << 30], &[1]))),
        ("a tensor without strides", checkpoint(&tensor(&[1 << 30, 1 << 30], &[0, 0]))),
        ("a tensor whose size overflows", checkpoint(&tensor(&[0x7fff_ffff; 8], &[0; 8]))),
        ("a tensor of many axes", checkpoint(&tensor(&[1; 4096], &[1; 4096]))),
        ("lists of lists", checkpoint(&laugh)),
        ("text longer than the pickle", checkpoint(&text)),
        ("text longer than memory", checkpoint(&long)),
        ("empty lists", checkpoint(&empty)),
        ("empty dicts", checkpoint(&dicts)),
        ("nested lists", checkpoint(&deep)),
        ("a directory of nothing", zip(&vec![("", &[][..], 0); 60_000])),
    ]
}
