//! Framing over real sockets and over a pipe that gives bytes one by one.

use std::time::Duration;

use super::*;

const WAIT: Duration = Duration::from_secs(20);

async fn net() -> TcpNet {
    TcpNet::bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

async fn receive<R: NetReceiver>(receiver: &mut R) -> io::Result<Option<Vec<u8>>> {
    timeout(WAIT, receiver.receive()).await.expect("a message, an end or an error in time")
}

#[tokio::test]
async fn messages_arrive_whole_and_in_order_both_ways() {
    let (a, b) = (net().await, net().await);
    let address = b.local_address().to_string();
    let (mut to_b, mut from_b) =
        a.connect(NodeId(2), &address, Channel::Forward, 5_000).await.unwrap();
    let (channel, mut to_a, mut from_a) = timeout(WAIT, b.accept()).await.unwrap().unwrap();
    assert_eq!(channel, Channel::Forward);
    let sizes = [0, 1, 3, 70_000, 5, MESSAGE_BYTES_MAX, 9];
    let sending = tokio::spawn(async move {
        for (i, size) in sizes.into_iter().enumerate() {
            to_b.send(vec![i as u8; size]).await.unwrap();
        }
    });
    for (i, size) in sizes.into_iter().enumerate() {
        let message = receive(&mut from_a).await.unwrap().unwrap();
        assert_eq!(message.len(), size);
        assert!(message.iter().all(|byte| *byte == i as u8));
        to_a.send(vec![i as u8]).await.unwrap();
        assert_eq!(receive(&mut from_b).await.unwrap().unwrap(), vec![i as u8]);
    }
    timeout(WAIT, sending).await.unwrap().unwrap();
    // The sender was dropped between messages: a clean end.
    assert_eq!(receive(&mut from_a).await.unwrap(), None);
}

#[tokio::test]
async fn a_frame_in_single_bytes_survives_cancelled_receives() {
    let (mut feed, read) = tokio::io::duplex(1);
    let mut receiver = TcpReceiver::new(read);
    let frame = [0u8, 0, 0, 3, b'a', b'b', b'c', 0, 0, 0, 0];
    for byte in &frame[..frame.len() - 1] {
        feed.write_all(&[*byte]).await.unwrap();
        // Reads what there is, then is cancelled; the whole frame comes out exactly once.
        if let Ok(got) = timeout(Duration::from_millis(5), receiver.receive()).await {
            assert_eq!(got.unwrap().unwrap(), b"abc");
        }
    }
    feed.write_all(&frame[frame.len() - 1..]).await.unwrap();
    assert_eq!(receive(&mut receiver).await.unwrap().unwrap(), b"");
}

#[tokio::test]
async fn an_end_inside_a_message_is_an_error() {
    for cut in [1, 4, 6] {
        let (mut feed, read) = tokio::io::duplex(64);
        let mut receiver = TcpReceiver::new(read);
        feed.write_all(&[0, 0, 0, 3, b'a', b'b', b'c'][..cut]).await.unwrap();
        drop(feed);
        let error = receive(&mut receiver).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut after {cut} bytes");
    }
}

#[tokio::test]
async fn an_oversize_length_is_refused_before_any_memory_is_taken() {
    let (mut feed, read) = tokio::io::duplex(64);
    let mut receiver = TcpReceiver::new(read);
    feed.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let error = receive(&mut receiver).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(receiver.buffer.capacity() <= 2 * READ_BUFFER_BYTES);
}

#[tokio::test]
async fn an_oversize_message_is_not_sent() {
    let (a, b) = (net().await, net().await);
    let address = b.local_address().to_string();
    let (mut to_b, _) = a.connect(NodeId(2), &address, Channel::Append, 5_000).await.unwrap();
    let error = to_b.send(vec![0; MESSAGE_BYTES_MAX + 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn garbage_on_the_peer_port_is_dropped_and_others_get_through() {
    let (a, b) = (net().await, net().await);
    let address = b.local_address().to_string();
    // One says nothing at all, one speaks HTTP, one names a channel that does not exist.
    let silent = TcpStream::connect(&address).await.unwrap();
    let mut http = TcpStream::connect(&address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut strange = TcpStream::connect(&address).await.unwrap();
    strange.write_all(b"BSMpeer\x01\x09").await.unwrap();
    let _peer = a.connect(NodeId(2), &address, Channel::Control, 5_000).await.unwrap();
    let (channel, _, _) = timeout(WAIT, b.accept()).await.unwrap().unwrap();
    assert_eq!(channel, Channel::Control);
    for mut refused in [http, strange] {
        let mut rest = Vec::new();
        let end = timeout(WAIT, refused.read_to_end(&mut rest)).await.expect("closed in time");
        assert!(end.is_err() || rest.is_empty(), "a foreign connection gets no answer");
    }
    drop(silent);
}

#[tokio::test]
async fn send_waits_while_the_peer_takes_nothing_and_fails_once_it_is_gone() {
    let (a, b) = (net().await, net().await);
    let address = b.local_address().to_string();
    let (mut to_b, _) = a.connect(NodeId(2), &address, Channel::Snapshot, 5_000).await.unwrap();
    let (_, to_a, from_a) = timeout(WAIT, b.accept()).await.unwrap().unwrap();
    let mut sent = 0;
    // Bounded: the stream's own room and the kernel's buffers, then it waits.
    while let Ok(result) =
        timeout(Duration::from_millis(500), to_b.send(vec![7; MESSAGE_BYTES_MAX])).await
    {
        result.unwrap();
        sent += 1;
        assert!(sent < 20, "a stream must not buffer without bound");
    }
    drop((to_a, from_a));
    let end = timeout(WAIT, async {
        loop {
            if let Err(e) = to_b.send(vec![7; MESSAGE_BYTES_MAX]).await {
                return e;
            }
        }
    });
    assert_eq!(end.await.expect("the end is noticed").kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn connect_to_nobody_fails_in_time() {
    let gone = net().await.local_address().to_string();
    let a = net().await;
    // The listener is closed by its drop; the port refuses.
    let result = timeout(WAIT, a.connect(NodeId(2), &gone, Channel::Control, 1_000)).await.unwrap();
    assert!(result.is_err());
}
