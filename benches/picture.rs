//! Files that pictures are written to.

use anyhow::{Context, Result, ensure};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file that a picture will be written to.
#[derive(Debug)]
pub struct PictureFile {
    path: PathBuf,
    file: File,
}

impl PictureFile {
    /// Makes the file: what cannot be written shows before the work and not after it.
    ///
    /// # Errors
    /// Another kind of file, or what the system says.
    pub fn open(path: &Path) -> Result<Self> {
        let is_svg = path.extension().is_some_and(|extension| extension == "svg");
        ensure!(is_svg, "pictures are SVG: {} does not end with .svg", path.display());
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot write the picture {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Replaces what the file holds.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes());
        let written = written.and_then(|()| self.file.set_len(text.len() as u64));
        written.with_context(|| format!("cannot write the picture {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_svg_is_drawn() {
        let error = PictureFile::open(Path::new("figures.png")).expect_err("refused");
        assert!(error.to_string().contains(".svg"));
    }
}
