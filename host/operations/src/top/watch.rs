//! The terminal: takes it, gives it back, and lets keys, the host and signals change what it shows.

use super::client::read;
use super::screen::{Next, Screen};
use super::{Address, Options, Reading, TopError};
use crossterm::event::EventStream;
use futures::{Stream, StreamExt as _, stream};
use ratatui::DefaultTerminal;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// Shows the host until `q`, ctrl-c or a signal ends it. A host that goes away while it runs is shown as gone, and read
/// again when it is back.
///
/// # Errors
/// When the output is no terminal, or the host cannot be read at first.
pub async fn watch(options: &Options) -> Result<(), TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let (address, interval) = (options.url.clone()?, options.interval());
    let mut screen = Screen::new(&address, interval);
    screen.take(Ok(read(&address).await?), Instant::now());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut readings = std::pin::pin!(readings(&address, interval));
    let mut terminal = Taken::new()?;
    let mut events = EventStream::new();
    loop {
        terminal.0.draw(|frame| screen.draw(frame, Instant::now()))?;
        tokio::select! {
            event = events.next() => {
                let Some(event) = event.transpose()? else { return Ok(()) };
                if screen.event(&event) == Next::Quit {
                    return Ok(());
                }
            }
            Some(reading) = readings.next() => screen.take(reading, Instant::now()),
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
        }
    }
}

/// What the host tells, once in each interval, the first after one. One that answers slowly is asked again an interval after
/// its answer.
fn readings(
    address: &Address,
    interval: Duration,
) -> impl Stream<Item = Result<Reading, TopError>> + use<'_> {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold(ticks, move |mut ticks| async move {
        ticks.tick().await;
        Some((read(address).await, ticks))
    })
}

/// The terminal, in raw mode and on its other screen. It is given back when this is dropped, and by a hook in a panic.
struct Taken(DefaultTerminal);

impl Taken {
    fn new() -> Result<Self, TopError> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                // It may have been half taken.
                let _ = ratatui::try_restore();
                Err(error.into())
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}
