//! What the terminal shows after which keys, on a terminal that is none.

use super::*;
use crate::top::tests::{reading, scrapes};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Modifier;

const WIDTH: u16 = 130;
const HEIGHT: u16 = 30;

fn new() -> Screen {
    Screen::new(&"127.0.0.1:9464".parse().unwrap(), Duration::from_secs(1))
}

/// A screen that has seen two scrapes.
fn screen() -> Screen {
    let mut screen = new();
    for reading in scrapes() {
        screen.take(Ok(reading), Instant::now());
    }
    screen
}

fn gone() -> TopError {
    let address: Address = "127.0.0.1:9464".parse().unwrap();
    TopError::Unreachable { address, reason: "refused".into() }
}

fn press(screen: &mut Screen, keys: &[KeyCode]) -> Next {
    let mut next = Next::Go;
    for key in keys {
        next = screen.event(&Event::Key(KeyEvent::new(*key, KeyModifiers::NONE)));
    }
    next
}

fn drawn(screen: &mut Screen, width: u16, height: u16, now: Instant) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame, now)).unwrap();
    terminal
}

/// The lines, without what is empty behind them.
fn lines(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
    let terminal = drawn(screen, width, height, Instant::now());
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

/// The first words of the rows of the table that begins with this column.
fn rows(screen: &mut Screen, column: &str) -> Vec<String> {
    let lines = lines(screen, WIDTH, HEIGHT);
    let table = lines.iter().skip_while(|line| !line.starts_with(column)).skip(1);
    table
        .take_while(|line| !line.is_empty() && !line.starts_with('+'))
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// The column that is marked as the one by which its table is sorted.
fn marked(screen: &mut Screen) -> String {
    let terminal = drawn(screen, WIDTH, HEIGHT, Instant::now());
    let cells = terminal.backend().buffer().content();
    cells.iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).map(|cell| cell.symbol()).collect()
}

#[test]
fn all_is_shown_where_there_is_room() {
    let mut screen = screen();
    let lines = lines(&mut screen, WIDTH, HEIGHT);
    let begins = |text: &str| lines.iter().any(|line| line.starts_with(text));
    for text in
        ["waggle 0.1.0 at", "requests", "models", "process", "TENANT", "shop", "FUNCTION", "chat", "UPSTREAM"]
            .into_iter()
            .chain(["local", "STORE", "default"])
    {
        assert!(begins(text), "{text} in {lines:#?}");
    }
    assert!(lines[usize::from(HEIGHT) - 1].starts_with("every 1s  q quit"), "{lines:#?}");
}

#[test]
fn before_the_second_scrape_it_says_that_it_measures() {
    let mut screen = new();
    let [before, _] = scrapes();
    screen.take(Ok(before), Instant::now());
    press(&mut screen, &[KeyCode::Char('s'), KeyCode::Down]);
    assert_eq!(lines(&mut screen, 60, 3)[0], "waggle at http://127.0.0.1:9464: measuring");
}

#[test]
fn keys_quit() {
    let check = |key: KeyEvent, expected| {
        assert_eq!(screen().event(&Event::Key(key)), expected, "{key:?}");
    };
    check(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE), Next::Quit);
    check(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), Next::Quit);
    check(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), Next::Quit);
    check(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::NONE), Next::Go);
    check(KeyEvent::new(KeyCode::Char('s'), KeyModifiers::NONE), Next::Go);
    assert_eq!(screen().event(&Event::Resize(1, 1)), Next::Go);
}

#[test]
fn s_sorts_the_table_in_focus_by_its_next_column() {
    let mut screen = screen();
    let check = |screen: &mut Screen, keys: &[KeyCode], column: &str, tenants: [&str; 4]| {
        press(screen, keys);
        assert_eq!(marked(screen), column, "{keys:?}");
        assert_eq!(rows(screen, "TENANT"), tenants, "{column}");
    };
    check(&mut screen, &[], "REQ/S", ["shop", "bank", "other", "quiet"]);
    let (s, back) = (KeyCode::Char('s'), KeyCode::Char('S'));
    check(&mut screen, &[s, s], "5XX", ["bank", "shop", "other", "quiet"]);
    check(&mut screen, &[back, back, back], "TENANT", ["bank", "other", "quiet", "shop"]);
    check(&mut screen, &[back], "COST/H", ["bank", "other", "quiet", "shop"]);
    // The next table has its own, and what was chosen for the first stays.
    check(&mut screen, &[KeyCode::Tab], "REQ/S", ["bank", "other", "quiet", "shop"]);
    check(&mut screen, &[KeyCode::BackTab, s], "TENANT", ["bank", "other", "quiet", "shop"]);
}

#[test]
fn p_holds_what_is_shown_and_lets_it_go_again() {
    let mut screen = new();
    let begin = Instant::now();
    let mut told = 0;
    let mut tell = |screen: &mut Screen| {
        told += 1;
        // In each second, more requests than in the one before.
        let text = format!("waggle_http_requests_total{{tenant=\"bank\"}} {}", told * told);
        screen.take(Ok(reading(&text, begin, told * 1_000)), begin);
    };
    let rate = |screen: &Screen| screen.view.as_ref().map(|view| view.host.requests.rate);
    tell(&mut screen);
    tell(&mut screen);
    assert_eq!(rate(&screen), Some(3.0));
    press(&mut screen, &[KeyCode::Char('p')]);
    tell(&mut screen);
    assert_eq!(rate(&screen), Some(3.0));
    assert!(lines(&mut screen, WIDTH, HEIGHT)[usize::from(HEIGHT) - 1].starts_with("paused"));
    press(&mut screen, &[KeyCode::Char('p')]);
    tell(&mut screen);
    assert_eq!(rate(&screen), Some(7.0), "of the last second alone");
}

#[test]
fn a_host_that_goes_away_is_shown_as_gone_until_it_is_back() {
    let mut screen = screen();
    let begin = Instant::now();
    screen.take(Err(gone()), begin);
    screen.take(Err(gone()), begin + Duration::from_secs(1));
    let terminal = drawn(&mut screen, WIDTH, HEIGHT, begin + Duration::from_secs(5));
    let buffer = terminal.backend().buffer();
    let status: String = (0..WIDTH).map(|x| buffer[(x, HEIGHT - 1)].symbol()).collect();
    assert!(status.starts_with("gone for 5s, trying on (q quits): nobody answers at"), "{status}");
    assert!(buffer[(0, 0)].modifier.contains(Modifier::DIM), "what is shown is of the past");
    assert_eq!(rows(&mut screen, "TENANT")[0], "shop", "and stays");
    // One scrape alone makes no rates; the next one does.
    let [before, after] = scrapes();
    screen.take(Ok(after), begin);
    assert!(screen.lost.is_none());
    assert_eq!(screen.view.as_ref().unwrap().tenants[2].requests.rate, 0.0);
    assert_eq!(rows(&mut screen, "TENANT")[0], "shop");
    screen.take(Ok(before), begin);
    assert_ne!(rows(&mut screen, "TENANT")[0], "shop");
}

#[test]
fn a_long_table_is_scrolled_to_its_end_and_not_past_it() {
    let mut screen = new();
    let tenants: Vec<_> =
        (0..1_000).map(|at| format!("waggle_http_requests_total{{tenant=\"t{at:03}\"}} 1")).collect();
    let begin = Instant::now();
    for at_ms in [0, 1_000] {
        screen.take(Ok(reading(&tenants.join("\n"), begin, at_ms)), begin);
    }
    let first = |screen: &mut Screen| rows(screen, "TENANT")[0].clone();
    let shown = rows(&mut screen, "TENANT").len();
    let text = lines(&mut screen, WIDTH, HEIGHT).join("\n");
    assert!(text.contains(&format!("\n+{}\n", 1_000 - shown)), "{text}");
    let check = |screen: &mut Screen, key: KeyCode, expected: &str| {
        press(screen, &[key]);
        assert_eq!(first(screen), expected, "{key:?}");
    };
    check(&mut screen, KeyCode::Up, "t000");
    check(&mut screen, KeyCode::Down, "t001");
    check(&mut screen, KeyCode::PageDown, "t011");
    let last = format!("t{:03}", 1_000 - shown);
    check(&mut screen, KeyCode::End, &last);
    check(&mut screen, KeyCode::Down, &last);
    check(&mut screen, KeyCode::PageUp, &format!("t{:03}", 1_000 - shown - PAGE_ROWS));
    check(&mut screen, KeyCode::Home, "t000");
}

#[test]
fn no_size_is_too_small() {
    let mut screen = screen();
    for width in [1, 7, 20, 300] {
        for height in [1, 2, 5, 8, 12, 60] {
            for _table in 0..TABLES {
                press(&mut screen, &[KeyCode::Tab]);
                assert_eq!(lines(&mut screen, width, height).len(), usize::from(height));
            }
        }
    }
}

#[test]
fn tables_share_the_lines_there_are() {
    let check = |lines: usize, rows: [usize; TABLES], focus: usize, expected: [Option<usize>; TABLES]| {
        assert_eq!(shares(lines, rows, focus), expected, "{lines} lines, {rows:?}, {focus}");
    };
    check(0, [9, 9, 9, 9], 0, [None; 4]);
    check(3, [9, 9, 9, 9], 2, [None, None, Some(1), None]);
    check(7, [9, 9, 9, 9], 2, [Some(2), None, Some(1), None]);
    check(12, [9, 9, 9, 9], 0, [Some(1); 4]);
    check(14, [9, 9, 9, 9], 0, [Some(2), Some(2), Some(1), Some(1)]);
    check(100, [9, 0, 2, 1], 0, [Some(9), Some(0), Some(2), Some(1)]);
    check(20, [1_000, 0, 2, 1], 0, [Some(9), Some(0), Some(2), Some(1)]);
}
