//! A way to the socket of a connection whose task holds its only descriptor.
//!
//! A stalled session has to be let go from outside its connection's task, but a second descriptor for each would
//! halve the sessions that a process can hold. So the number of the task's own is kept, and duplicated in the moment
//! in which it is needed, through a descriptor of this process (`pidfd_getfd`, Linux 5.6). By then the number may be
//! another socket's: the kernel's cookie, which no two sockets ever share, tells. Where the system does not allow
//! that (an older kernel, a filter of system calls), there is a second descriptor after all.

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{SockRef, Socket};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};

/// A connection's socket, of which another owns the descriptor.
#[derive(Debug, Clone)]
pub enum Descriptor {
    /// The owner's, by its number, and the socket's cookie.
    Owners(RawFd, u64),
    /// A second one.
    Second(Arc<Socket>),
}

impl Descriptor {
    /// For a socket that its owner may close at any time.
    ///
    /// # Errors
    /// When it needs a second descriptor, and there is none left.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        if this_process().is_some()
            && let Ok(cookie) = SockRef::from(&socket).cookie()
        {
            return Ok(Self::Owners(socket.as_raw_fd(), cookie));
        }
        Ok(Self::Second(Arc::new(Socket::from(socket.try_clone_to_owned()?))))
    }

    /// The socket, by a descriptor of its own that is closed with it. `None` when the owner has closed it.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn open(&self) -> io::Result<Option<Socket>> {
        let (number, cookie) = match self {
            Self::Owners(number, cookie) => (*number, *cookie),
            Self::Second(socket) => return socket.try_clone().map(Some),
        };
        let Some(process) = this_process() else { return Ok(None) };
        match pidfd_getfd(process, number, PidfdGetfdFlags::empty()) {
            // Whatever has the number now: what is no socket has no cookie.
            Ok(found) => {
                let found = Socket::from(found);
                Ok(found.cookie().is_ok_and(|its| its == cookie).then_some(found))
            }
            Err(rustix::io::Errno::BADF) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// How many descriptors a connection takes.
pub fn descriptors_each() -> usize {
    if this_process().is_some() { 1 } else { 2 }
}

/// This process, as the kernel lets it take its own descriptors by their numbers; `None` where it does not.
fn this_process() -> Option<BorrowedFd<'static>> {
    static PROCESS: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let process = PROCESS.get_or_init(|| {
        let tried = pidfd_open(getpid(), PidfdFlags::empty()).and_then(|process| {
            pidfd_getfd(&process, process.as_raw_fd(), PidfdGetfdFlags::empty())?;
            Ok(process)
        });
        tried.inspect_err(|e| log::info!("connections take two descriptors each: pidfd_getfd=\"{e}\"")).ok()
    });
    process.as_ref().map(AsFd::as_fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn both(socket: &TcpStream) -> [Descriptor; 2] {
        let second = Descriptor::Second(Arc::new(Socket::from(socket.as_fd().try_clone_to_owned().unwrap())));
        [Descriptor::of(socket.as_fd()).unwrap(), second]
    }

    #[test]
    fn a_socket_is_reached_while_its_owner_holds_it() {
        for n in 0..2 {
            let (mut client, mut server) = pair();
            let descriptor = &both(&server)[n];
            descriptor.open().unwrap().unwrap().shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            client.write_all(b"x").unwrap();
            assert_eq!(server.read(&mut [0]).unwrap(), 1);
        }
    }

    #[test]
    fn one_that_is_closed_is_not_reached_and_what_has_its_number_is_left_alone() {
        let (mut client, server) = pair();
        let Descriptor::Owners(number, cookie) = Descriptor::of(server.as_fd()).unwrap() else {
            return assert_eq!(descriptors_each(), 2);
        };
        let descriptor = Descriptor::Owners(number, cookie);
        drop(server);
        // The number may have been taken by a test beside this one, which is the case in point.
        assert!(descriptor.open().unwrap().is_none());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let file = tempfile::tempfile().unwrap();
        assert!(Descriptor::Owners(file.as_raw_fd(), cookie).open().unwrap().is_none());
        assert!(Descriptor::Owners(RawFd::MAX, cookie).open().unwrap().is_none());
    }
}
