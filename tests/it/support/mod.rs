//! What tests stand on: scratch servers, a whole app in the process, the binary as a child process, real client libraries.

pub mod app;
pub mod clients;
pub mod fleet;
pub mod listen;
pub mod packages;
pub mod process;
pub mod servers;
pub mod socket;

pub use app::{Backend, TestApp};

/// Writes a test once and runs it on SQLite and on PostgreSQL: `on_both! { async fn name(app: TestApp) { … } }`.
macro_rules! on_both {
    ($(async fn $name:ident($app:ident: TestApp) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn run($app: TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run(TestApp::new(crate::support::Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run(TestApp::new(crate::support::Backend::Postgres).await).await;
            }
        }
    )+};
}
pub(crate) use on_both;
