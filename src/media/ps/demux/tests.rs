use super::*;

/// What was found, with payload of one PES joined.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    maps: Vec<StreamMap>,
    pes: Vec<(Pes, Vec<u8>, bool)>,
    errors: Vec<Error>,
}

impl Sink for Found {
    fn map(&mut self, map: &StreamMap) {
        self.maps.push(map.clone());
    }
    fn pes(&mut self, pes: Pes) {
        self.pes.push((pes, Vec::new(), false));
    }
    fn payload(&mut self, stream_id: u8, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        let last = self.pes.last_mut().expect("payload follows its header");
        assert_eq!(last.0.stream_id, stream_id);
        last.1.extend_from_slice(bytes);
    }
    fn pes_end(&mut self, stream_id: u8) {
        let last = self.pes.last_mut().expect("an end follows its start");
        assert_eq!(last.0.stream_id, stream_id);
        last.2 = true;
    }
    fn hole(&mut self, stream_id: u8) {
        panic!("no hole in {stream_id:#x}: losses are told from outside");
    }
    fn error(&mut self, error: Error) {
        self.errors.push(error);
    }
}

const PACK: [u8; 14] = [0, 0, 1, 0xba, 0x44, 0, 4, 0, 4, 1, 0, 0x10, 3, 0xf8];

fn pes(id: u8, pts: u64, payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0, 0, 1, id];
    b.extend_from_slice(&((payload.len() + 8) as u16).to_be_bytes());
    b.extend_from_slice(&[0x80, 0x80, 5]);
    b.extend_from_slice(&super::super::write_time(2, pts));
    b.extend_from_slice(payload);
    b
}

fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    Demux::new().push(bytes, &mut found);
    found
}

/// Reads `bytes` whole, in two pieces cut at every place, and byte by byte: all must give the same.
fn read_any_cut(bytes: &[u8]) -> Found {
    let whole = read(bytes);
    for cut in 0..bytes.len() {
        let mut found = Found::default();
        let mut demux = Demux::new();
        demux.push(&bytes[..cut], &mut found);
        demux.push(&bytes[cut..], &mut found);
        assert_eq!(found, whole, "cut at {cut}");
    }
    let mut found = Found::default();
    let mut demux = Demux::new();
    for b in bytes {
        demux.push(&[*b], &mut found);
        assert!(demux.stash.len() <= limits::PS_STASH_BYTES_MAX);
    }
    assert_eq!(found, whole, "byte by byte");
    whole
}

#[test]
fn lengths_are_followed_whatever_the_payload_holds() {
    let mut b = PACK.to_vec();
    let fake = [1, 0, 0, 1, 0xba, 0, 0, 1, 0xe0, 2];
    b.extend(pes(0xe0, 90, &fake));
    b.extend(pes(0xc0, 91, &[7; 20]));
    let found = read_any_cut(&b);
    assert_eq!(found.errors, []);
    assert_eq!(found.pes.len(), 2);
    assert_eq!(found.pes[0].1, fake);
    assert_eq!(found.pes[0].0.pts, Some(90));
    assert_eq!(found.pes[1].1, [7; 20]);
}

#[test]
fn private_data_with_start_codes_is_stepped_over() {
    let mut b = PACK.to_vec();
    b.extend([0, 0, 1, 0xbd, 0, 8, 0, 0, 0, 1, 0, 0, 1, 0xba]);
    b.extend(pes(0xe0, 1, &[5, 6]));
    let found = read_any_cut(&b);
    assert_eq!((found.errors.len(), found.pes.len()), (0, 1));
}

#[test]
fn a_picture_without_length_ends_at_the_next_system_code() {
    let mut b = PACK.to_vec();
    let body = [0, 0, 0, 1, 0x65, 9, 0, 0, 1, 0x41, 8, 0, 0];
    b.extend([0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0]);
    b.extend(body);
    b.extend(PACK);
    let found = read_any_cut(&b);
    assert_eq!(found.pes.len(), 1);
    assert_eq!(found.pes[0].0.payload_bytes, None);
    assert_eq!(found.pes[0].1, body);
    assert!(found.pes[0].2);
}

#[test]
fn a_picture_longer_than_its_length_field_goes_on() {
    let body: Vec<u8> = (0..70_000u32).map(|n| (n % 251) as u8 | 2).collect();
    let mut b = PACK.to_vec();
    let mut unit = pes(0xe0, 1, &body[..100]);
    let claimed = ((body.len() + 8) & 0xffff) as u16;
    unit[4..6].copy_from_slice(&claimed.to_be_bytes());
    b.extend(&unit[..14]);
    b.extend(&body);
    b.extend(PACK);
    b.extend(pes(0xc0, 1, &[1]));
    let found = read(&b);
    assert_eq!(found.errors, [Error::Overlong]);
    assert_eq!(found.pes[0].1.len(), body.len());
    assert_eq!(found.pes[0].1, body);
    assert_eq!(found.pes[1].1, [1]);
}

#[test]
fn a_pack_start_code_alone_is_passed() {
    let mut b = vec![0, 0, 1, 0xba];
    b.extend(pes(0xe0, 1, &[5, 6]));
    let found = read_any_cut(&b);
    assert_eq!((found.errors.len(), found.pes.len()), (0, 1));
}

#[test]
fn junk_is_searched_and_the_next_unit_works() {
    let mut b = vec![0xaa, 0, 0, 0, 0, 1, 0, 0, 0];
    b.extend(PACK);
    b.extend([0x12, 0x34]);
    b.extend(PACK);
    b.extend(pes(0xc0, 3, &[1, 2, 3]));
    let found = read_any_cut(&b);
    assert_eq!(found.errors, [Error::NoStartCode]);
    assert_eq!(found.pes[0].1, [1, 2, 3]);
}

#[test]
fn damaged_headers_are_counted_and_passed() {
    let mut long_header = pes(0xe0, 3, &[1, 2, 3]);
    long_header[8] = 200;
    let mut no_mark = pes(0xe0, 3, &[1, 2, 3]);
    no_mark[6] = 0x40;
    let huge_system_header = vec![0, 0, 1, 0xbb, 0xff, 0xff, 1, 2];
    let huge_map = vec![0, 0, 1, 0xbc, 0xff, 0xff, 1, 2];
    let bad_pack = vec![0, 0, 1, 0xba, 0xff, 0xff, 1, 2];
    for (unit, error) in [
        (long_header, Error::PesHeader),
        (no_mark, Error::PesHeader),
        (huge_system_header, Error::Length),
        (huge_map, Error::Length),
        (bad_pack, Error::PackHeader),
    ] {
        let mut b = PACK.to_vec();
        b.extend(unit);
        b.extend(PACK);
        b.extend(pes(0xe0, 4, &[9]));
        let found = read_any_cut(&b);
        assert_eq!(found.errors, [error]);
        assert_eq!(found.pes.len(), 1, "{error:?}");
        assert_eq!(found.pes[0].1, [9]);
    }
}

#[test]
fn the_longest_map_is_read_and_a_longer_one_is_not() {
    let map = |len: usize| {
        let mut b = vec![0, 0, 1, 0xbc];
        b.extend((len as u16).to_be_bytes());
        b.extend([0xe0, 0xff, 0, 0, 0, 4, 0x1b, 0xe0, 0, 0]);
        b.resize(6 + len, 0xff);
        b
    };
    let found = read_any_cut(&map(STREAM_MAP_BYTES_MAX));
    assert_eq!(found.maps.len(), 1);
    assert_eq!(read(&map(STREAM_MAP_BYTES_MAX + 1)).errors, [Error::Length]);
}

#[test]
fn a_hole_in_a_picture_keeps_the_rest_of_it() {
    let unit = pes(0xe0, 3, &[7; 100]);
    let mut found = Found::default();
    let mut demux = Demux::new();
    demux.push(&unit[..50], &mut found);
    demux.lose(true);
    demux.push(&unit[80..], &mut found);
    demux.push(&PACK, &mut found);
    assert_eq!(found.pes[0].1.len(), 100 - 30);
    let mut found = Found::default();
    let mut demux = Demux::new();
    demux.push(&unit[..50], &mut found);
    demux.lose(false);
    demux.push(&unit[80..], &mut found);
    demux.push(&PACK, &mut found);
    assert_eq!(found.pes[0].1.len(), 50 - 14);
    assert!(!found.pes[0].2);
}
