//! Between Attune and PostgreSQL: passes on bytes as they come, and acts before any of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::attune::Attune;
use crate::plan::LATE_MAX_MS;
use crate::strikes::{Action, Point, Strikes};

pub struct Wire {
    pub server: String,
    pub attune: Arc<Attune>,
    pub strikes: Arc<Strikes>,
}

impl Wire {
    /// Takes connections until the runtime ends.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((client, _)) = listener.accept().await else { return };
            let wire = Arc::clone(&self);
            tokio::spawn(async move {
                // Whoever ends a connection early, it is no more than that.
                let _ = wire.connection(client).await;
            });
        }
    }

    async fn connection(&self, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(&self.server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (client_reader, client_writer) = client.into_split();
        let (server_reader, server_writer) = server.into_split();
        // The first end that ends ends both.
        tokio::select! {
            done = self.pass_on(client_reader, server_writer, Point::Before) => done,
            done = self.pass_on(server_reader, client_writer, Point::After) => done,
        }
    }

    async fn pass_on(
        &self,
        mut from: impl AsyncReadExt + Unpin,
        mut to: impl AsyncWriteExt + Unpin,
        point: Point,
    ) -> std::io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            let read_at = Instant::now();
            match self.strikes.at(point, "the CRM's connection") {
                Action::Pass => {}
                Action::Delay(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Action::Truncate => {
                    to.write_all(&bytes[..count / 2]).await?;
                    return Ok(());
                }
                action @ (Action::Kill(late) | Action::Cut(late)) => {
                    if matches!(action, Action::Kill(_)) {
                        self.attune.kill("while it speaks with the CRM").await;
                    }
                    if let (Some(late), Point::Before) = (late, point) {
                        tokio::time::sleep(Duration::from_millis(late)).await;
                        if read_at.elapsed() > Duration::from_millis(LATE_MAX_MS) {
                            return Ok(());
                        }
                        to.write_all(&bytes[..count]).await?;
                        // The server gets to read it before it sees the end.
                        to.shutdown().await?;
                    }
                    return Ok(());
                }
            }
            to.write_all(&bytes[..count]).await?;
        }
    }
}
