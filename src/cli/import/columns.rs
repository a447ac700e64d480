//! What the columns of a file are taken for, for people to read, save and edit.

use crate::ingest::file::FileReader;

/// The mapping as a file, with what it leaves out.
pub(super) fn as_file(reader: &FileReader<'_>) -> String {
    let mut text = format!(
        "# What the columns are taken for. Save this, change what is wrong, and hand it in with --map.\n# {}\n",
        form(reader)
    );
    if !reader.left_out.is_empty() {
        text.push_str(&format!("# Left out: {}\n", reader.left_out.join(", ")));
    }
    text.push_str(&reader.mapping.to_toml());
    text
}

/// In a line or, where it was guessed, in full.
pub(super) fn summary(reader: &FileReader<'_>, is_guessed: bool) -> String {
    match is_guessed {
        true => as_file(reader),
        false => match reader.left_out.is_empty() {
            true => format!("# {}\n", form(reader)),
            false => format!("# {}; left out: {}\n", form(reader), reader.left_out.join(", ")),
        },
    }
}

fn form(reader: &FileReader<'_>) -> String {
    format!("{:?} in {}", reader.format, reader.encoding)
}
