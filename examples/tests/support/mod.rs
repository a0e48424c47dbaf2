//! Writes traces byte by byte, right or wrong as the test wants them.

/// A trace of allocator calls under construction.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) records: u64,
    pub(crate) objects: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) peak_objects: u64,
    pub(crate) threads: u32,
    pub(crate) metadata: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Writer {
            records: 0,
            objects: 0,
            peak_bytes: 0,
            peak_objects: 0,
            threads: 1,
            metadata: br#"{"name":"made","description":"by hand"}"#.to_vec(),
            body: Vec::new(),
        }
    }

    /// Adds a record: its tag, and then its bytes.
    pub(crate) fn record(mut self, tag: u8, fields: &[u64]) -> Self {
        self.records += 1;
        self.objects += u64::from(tag & 7 < 3);
        self.body.push(tag);
        for &field in fields {
            var(&mut self.body, field);
        }
        self
    }

    /// Sets both peaks of the header.
    pub(crate) fn peaks(mut self, bytes: u64, objects: u64) -> Self {
        (self.peak_bytes, self.peak_objects) = (bytes, objects);
        self
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"ATRACE1\n".to_vec();
        for field in [self.records, self.objects, self.peak_bytes, self.peak_objects] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(self.threads.to_le_bytes());
        bytes.extend((self.metadata.len() as u32).to_le_bytes());
        bytes.extend(&self.metadata);
        bytes.extend(&self.body);
        bytes
    }

    /// Offset of the first record.
    pub(crate) fn body_at(&self) -> usize {
        48 + self.metadata.len()
    }
}

/// Appends a variable-length number.
pub(crate) fn var(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A trace of requests: the counts of the header, and the fields of each record after its tag.
pub(crate) fn requests(requests: u64, keys: u64, records: &[(u8, &[u64])]) -> Vec<u8> {
    let mut bytes = b"KTRACE1\n".to_vec();
    bytes.extend(requests.to_le_bytes());
    bytes.extend(keys.to_le_bytes());
    bytes.extend(2u32.to_le_bytes());
    bytes.extend(b"{}");
    for (tag, fields) in records {
        bytes.push(*tag);
        for &field in *fields {
            var(&mut bytes, field);
        }
    }
    bytes
}
