//! A command's answer on stdout.

use std::io::{ErrorKind, Write, stdout};

use super::Refusal;

/// Writes the answer. A reader that left early (`transom routes | head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Refusal> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Refusal::new(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Columns as wide as their widest cell, two spaces between them.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up() {
        let rows =
            [vec!["GET".to_owned(), "/é".to_owned(), "x".to_owned()], vec!["POST".into(), String::new(), "y".into()]];
        assert_eq!(table(&["M", "PATH", "Z"], &rows), "M     PATH  Z\nGET   /é    x\nPOST        y\n");
    }
}
