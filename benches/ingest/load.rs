//! Sending prepared requests over connections that stay open, as cheaply as can be: the load shares the cores with what it measures.

use crate::cpu::Latencies;
use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Requests as they go over the wire.
pub type Requests = Arc<Vec<Vec<u8>>>;

/// Sends every request once; each connection waits for its answer before it sends the next.
///
/// # Panics
/// When an answer is not 200.
pub async fn send(server: &Server, connections: usize, requests: &Requests) -> Latencies {
    let next = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(one_connection(server.address.clone(), requests.clone(), next.clone())))
        .collect();
    let mut latencies = Vec::with_capacity(requests.len());
    for sender in senders {
        latencies.extend(sender.await.unwrap());
    }
    latencies
}

async fn one_connection(address: String, requests: Requests, next: Arc<AtomicUsize>) -> Latencies {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies = Vec::new();
    let mut answer = vec![0; 4096];
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let watch = Instant::now();
        stream.write_all(request).await.unwrap();
        let length = read_answer(&mut stream, &mut answer).await;
        let text = std::str::from_utf8(&answer[..length]).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        latencies.push(watch.elapsed());
    }
    latencies
}

/// Reads one whole answer; gives its length.
pub async fn read_answer(stream: &mut TcpStream, answer: &mut [u8]) -> usize {
    let mut length = 0;
    loop {
        let read = stream.read(&mut answer[length..]).await.unwrap();
        assert!(read > 0, "the server hung up, or its answer is longer than expected");
        length += read;
        if whole_length(&answer[..length]).is_some_and(|whole| length >= whole) {
            return length;
        }
    }
}

/// The length of head and body, once the head is there.
fn whole_length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
    let body = text.split_once("content-length: ")?.1.split_once('\r')?.0;
    Some(head + body.parse::<usize>().unwrap())
}
