//! The honest end, and the peer's channel that goes on beside the garbage.

use crossvm_channel::{Broken, Channel, Config, Error, Interest, Memory, RecvError, Side, Silent, Wait, Wake};

use crate::memory::{Script, Watched, Words};

/// Returns at once so many times, and then says that the time is over.
struct Restless(u32);

impl Wait for Restless {
    type Error = ();

    fn wait(&mut self) -> Result<Wake, ()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Ok(Wake::Rung)
            }
            None => Ok(Wake::TimedOut),
        }
    }
}

const SLEEPS: u32 = 3;

/// What an end is told to do. Whatever comes of it is right, as long as nothing panics and no check of the memory's fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    PollConnect,
    Push(usize),
    TrySend(usize),
    Grant(usize),
    Flush,
    TryRecv(usize),
    Peek,
    Keep,
    Arm(Interest),
    Disarm,
    Close,
    Reopen,
    Connect,
    Send(usize),
    Recv(usize),
    WaitFor(Interest),
    Look,
}

pub(crate) fn honest(words: &Words, side: Side, script: Script) -> Channel<Watched<'_>, Silent> {
    Channel::open(Watched::new(words, side, script), Silent, Config::new(side)).unwrap()
}

pub(crate) fn peer(words: &Words, side: Side) -> Channel<&Words, Silent> {
    Channel::open(words, Silent, Config::new(side)).unwrap()
}

/// The honest end makes the call.
pub(crate) fn call(end: &mut Channel<Watched<'_>, Silent>, call: Call) -> Result<(), Broken> {
    end.memory().call(end.max_message(), if matches!(call, Call::Connect | Call::Send(_) | Call::Recv(_)) { SLEEPS } else { 0 });
    let done = make(end, call);
    end.memory().call(end.max_message(), 0);
    let _ = end.status();
    done
}

/// Makes the call. What broke the channel is the result.
pub(crate) fn make<M: Memory>(end: &mut Channel<M, Silent>, call: Call) -> Result<(), Broken> {
    let most = end.max_message();
    match call {
        Call::PollConnect => end.poll_connect().map(|_| ()),
        Call::Push(length) => of_send(end.push(&vec![0xa5; length])),
        Call::TrySend(length) => of_send(end.try_send(&vec![0xa5; length])),
        Call::Grant(length) => match end.reserve(length) {
            Ok(mut grant) => {
                grant.write(0, &vec![0xa5; length]).unwrap();
                grant.commit(length / 2).unwrap();
                Ok(())
            }
            Err(error) => of_send(Err(error)),
        },
        Call::Flush => end.flush(),
        Call::TryRecv(buffer) => match end.try_recv(&mut vec![0; buffer]) {
            Ok(length) => {
                assert!(length <= buffer && length <= most);
                Ok(())
            }
            Err(RecvError::TooShort { needed }) => {
                assert!(needed > buffer && needed <= most);
                Ok(())
            }
            Err(RecvError::Broken(broken)) => Err(broken),
            Err(RecvError::Empty) => Ok(()),
        },
        Call::Peek | Call::Keep => match end.peek() {
            Ok(message) => {
                assert!(message.len() <= most);
                message.read(0, &mut vec![0; message.len()]).unwrap();
                if matches!(call, Call::Keep) {
                    message.keep();
                }
                Ok(())
            }
            Err(RecvError::Broken(broken)) => Err(broken),
            Err(error) => {
                assert_eq!(error, RecvError::Empty);
                Ok(())
            }
        },
        Call::Arm(interest) => end.arm(interest).map(|_| ()),
        Call::Disarm => {
            end.disarm();
            Ok(())
        }
        Call::Close => {
            end.close();
            Ok(())
        }
        Call::Reopen => {
            end.reopen();
            Ok(())
        }
        Call::Connect => of_wait(end.connect(&mut Restless(SLEEPS))),
        Call::Send(length) => of_wait(end.send(&vec![0xa5; length], &mut Restless(SLEEPS))),
        Call::Recv(buffer) => of_wait(end.recv(&mut vec![0; buffer], &mut Restless(SLEEPS)).map(|length| assert!(length <= buffer))),
        Call::WaitFor(interest) => of_wait(end.wait_for(interest, &mut Restless(SLEEPS))),
        Call::Look => {
            let _ = (end.peer(), end.statistics());
            Ok(())
        }
    }
}

fn of_send(sent: Result<(), crossvm_channel::SendError>) -> Result<(), Broken> {
    match sent {
        Err(crossvm_channel::SendError::Broken(broken)) => Err(broken),
        _ => Ok(()),
    }
}

fn of_wait(done: Result<(), Error<()>>) -> Result<(), Broken> {
    match done {
        Err(Error::Broken(broken)) => Err(broken),
        _ => Ok(()),
    }
}
