use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UnixStream;

use super::*;
use crate::transport::testing::limited;

const RATE: u64 = 1_000_000;
const BURST: u64 = RATE / 4;

/// Counts how often it is asked.
struct Counted<T>(T, Arc<AtomicUsize>);

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

/// A connection whose other end writes without end.
fn flooded() -> DuplexStream {
    let (near, mut far) = duplex(64 * 1024);
    tokio::spawn(async move { while far.write_all(&[7; 16 * 1024]).await.is_ok() {} });
    near
}

async fn read(from: &mut (impl AsyncRead + Unpin), mut bytes: u64) {
    let mut buffer = vec![0; 64 * 1024];
    while bytes > 0 {
        let most = usize::try_from(bytes).expect("small").min(buffer.len());
        let read = from.read(&mut buffer[..most]).await.expect("it can be read");
        assert!(read > 0 && buffer[..read].iter().all(|&byte| byte == 7));
        bytes -= read as u64;
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
    let polls = Arc::new(AtomicUsize::new(0));
    let mut metered = Metered::new(Counted(flooded(), Arc::clone(&polls)), Bucket::new(RATE), Abort::default());
    let began = Instant::now();
    read(&mut metered, BURST).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(metered.rest.is_none(), "no timer is made before one is needed");
    read(&mut metered, 2 * RATE).await;
    let taken = began.elapsed();
    assert!((1_990..=2_010).contains(&taken.as_millis()), "{taken:?}");
    // 5 ms between reads, each of which may find the flood's buffer empty once.
    assert!(polls.load(Ordering::Relaxed) < 1_000, "{polls:?}");
}

#[tokio::test(start_paused = true)]
async fn connections_of_a_plugin_share_what_they_may_read() {
    let bucket = Bucket::new(RATE);
    let mut one = Metered::new(flooded(), Arc::clone(&bucket), Abort::default());
    let mut other = Metered::new(flooded(), bucket, Abort::default());
    let began = Instant::now();
    tokio::join!(read(&mut one, RATE), read(&mut other, RATE));
    let taken = began.elapsed();
    assert!((1_740..=1_760).contains(&taken.as_millis()), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_rest_gives_no_more_than_a_burst() {
    let mut metered = Metered::new(flooded(), Bucket::new(RATE), Abort::default());
    read(&mut metered, 3 * BURST).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    let began = Instant::now();
    read(&mut metered, BURST).await;
    assert!(began.elapsed() < Duration::from_millis(2), "{:?}", began.elapsed());
    read(&mut metered, RATE).await;
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_least_rate_still_flows() {
    let mut metered = Metered::new(flooded(), Bucket::new(0), Abort::default());
    let began = Instant::now();
    read(&mut metered, 4).await;
    assert_eq!(began.elapsed().as_secs(), 3);
}

proptest! {
    /// Whatever the times and sizes of reads, no more passes than a burst and what has flowed in.
    #[test]
    fn no_schedule_of_reads_exceeds_the_rate(
        rate in 1..=RATE_MAX,
        steps in proptest::collection::vec((0_u64..2_000_000_000, 0_u64..1 << 24), 1..64),
    ) {
        let bucket = Bucket::new(rate);
        let mut now = bucket.made;
        let mut total = 0_u128;
        for (nanos, wanted) in steps {
            now += Duration::from_nanos(nanos);
            let available = bucket.available(now);
            prop_assert!(available <= bucket.burst);
            let taken = wanted.min(available);
            bucket.take(now, taken);
            total += u128::from(taken);
            let flowed = (now - bucket.made).as_nanos() * u128::from(rate) / 1_000_000_000;
            prop_assert!(total <= u128::from(bucket.burst) + flowed);
            if available == 0 {
                let rested = bucket.rested(now);
                prop_assert!(rested > now && bucket.available(rested) > 0);
            }
        }
    }
}

#[tokio::test]
async fn an_abort_wakes_whoever_waits() {
    limited(async {
        let (near, _far) = duplex(16);
        let abort = Abort::default();
        let (mut reader, mut writer) = tokio::io::split(Metered::new(near, Bucket::new(RATE), abort.clone()));
        let reading = tokio::spawn(async move { reader.read_u8().await.map_err(|error| error.kind()) });
        let writing = tokio::spawn(async move { writer.write_all(&[0; 64]).await.map_err(|error| error.kind()) });
        tokio::task::yield_now().await;
        assert!(!reading.is_finished() && !writing.is_finished());
        abort.abort();
        assert_eq!(reading.await.expect("no panic"), Err(io::ErrorKind::ConnectionAborted));
        assert_eq!(writing.await.expect("no panic"), Err(io::ErrorKind::ConnectionAborted));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_a_flood_and_a_rest() {
    let abort = Abort::default();
    let mut metered = Metered::new(flooded(), Bucket::new(RATE), abort.clone());
    read(&mut metered, BURST).await;
    let resting = tokio::time::timeout(Duration::from_nanos(1), metered.read_u8()).await;
    assert!(resting.is_err(), "it rests");
    abort.abort();
    let began = Instant::now();
    let error = metered.read_u8().await.expect_err("it was aborted");
    assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::ConnectionAborted, Duration::ZERO));

    let abort = Abort::default();
    let mut metered = Metered::new(flooded(), Bucket::new(RATE), abort.clone());
    read(&mut metered, 1).await;
    abort.abort();
    let error = metered.read_u8().await.expect_err("there is more to read, but it was aborted");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn an_abort_ends_an_http2_connection_that_would_never_end() {
    limited(async {
        let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
        let abort = Abort::default();
        let io = hyper_util::rt::TokioIo::new(Metered::new(near, Bucket::new(RATE), abort.clone()));
        let service = hyper::service::service_fn(|_request| async {
            std::future::pending::<()>().await;
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let served = tokio::spawn(builder.serve_connection(io, service));
        // Preface, SETTINGS, and the HEADERS of `GET / ` with authority `a`, not ending the stream.
        far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it listens");
        far.write_all(b"\0\0\x06\x01\x04\0\0\0\x01\x82\x86\x84\x41\x01a").await.expect("it listens");
        let mut header = [0; 9];
        far.read_exact(&mut header).await.expect("it answers with its settings");
        assert_eq!(header[3], 4);
        assert!(!served.is_finished());
        abort.abort();
        assert!(served.await.expect("no panic").is_err());
        while far.read(&mut [0; 256]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
}

#[tokio::test]
async fn writes_pass_as_they_are() {
    limited(async {
        let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
        let mut metered = Metered::new(near, Bucket::new(1), Abort::default());
        assert!(metered.is_write_vectored());
        let slices = [io::IoSlice::new(b"one "), io::IoSlice::new(b"two")];
        assert_eq!(metered.write_vectored(&slices).await.expect("it is open"), 7);
        metered.shutdown().await.expect("it is open");
        let mut text = String::new();
        far.read_to_string(&mut text).await.expect("text");
        assert_eq!(text, "one two");
    })
    .await;
}
