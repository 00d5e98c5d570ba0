//! A link that can be cut: what a client says to one address goes on to a server behind it, until it does not.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Passes connections on from one address to another.
pub struct Relay {
    from: SocketAddr,
    link: Arc<Link>,
}

#[derive(Default)]
struct Link {
    /// Nothing passes now.
    is_cut: AtomicBool,
    has_ended: AtomicBool,
    /// Both ends of each connection.
    ends: Mutex<Vec<TcpStream>>,
}

impl Link {
    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    /// Waits while nothing passes.
    fn wait(&self) {
        while self.is_cut() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn drop_all(&self) {
        for end in self.ends.lock().expect("ends").drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Relay {
    /// Listens on one address, and passes on to the other.
    pub fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).expect("an address to listen on");
        let link = Arc::new(Link::default());
        let its = Arc::clone(&link);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                its.wait();
                if its.has_ended.load(Ordering::SeqCst) {
                    return;
                }
                // A server that is away is, from here, a connection that ends at once.
                let Ok(server) = TcpStream::connect(to) else { continue };
                let both = |stream: &TcpStream| stream.try_clone().expect("a stream");
                its.ends.lock().expect("ends").extend([both(&client), both(&server)]);
                for (from, to) in [(both(&client), both(&server)), (server, client)] {
                    let link = Arc::clone(&its);
                    std::thread::spawn(move || pass(&link, from, to));
                }
            }
        });
        Self { from, link }
    }

    /// Lets nothing through for so long; what was sent arrives late, as after a cable was out for a moment.
    pub fn hold(&self, time: Duration) {
        self.link.is_cut.store(true, Ordering::SeqCst);
        std::thread::sleep(time);
        self.link.is_cut.store(false, Ordering::SeqCst);
    }

    /// Ends all connections, what is on its way in them lost, and takes new ones after so long.
    pub fn cut(&self, time: Duration) {
        self.link.is_cut.store(true, Ordering::SeqCst);
        self.link.drop_all();
        std::thread::sleep(time);
        self.link.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.link.has_ended.store(true, Ordering::SeqCst);
        self.link.drop_all();
        // It waits for a client: this is the last.
        let _ = TcpStream::connect(self.from);
    }
}

fn pass(link: &Link, mut from: TcpStream, mut to: TcpStream) {
    let mut part = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut part) {
        link.wait();
        if to.write_all(&part[..length]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
