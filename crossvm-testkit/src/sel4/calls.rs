//! The system calls.

use crossvm_sel4::kernel::{Attributes, Badge, CPtr, CapRights, Kernel, KernelError, Message, Object, Received, Space};

use super::SimKernel;
use super::messages::Answer;
use super::state::State;

/// Panics where the caller would fault, or wait for ever: a test that gets there has found a mistake.
impl Kernel for SimKernel {
    fn signal(&self, notification: CPtr) {
        // Nobody hears of what goes wrong: the call has no result.
        let _ = self.state_mut().invoke(notification, |_| false);
    }

    fn wait(&self, notification: CPtr) -> Badge {
        let taken = self.state_mut().take_signal(notification);
        Badge::new(taken.unwrap_or_else(|| panic!("nobody has signalled {notification}: the caller waits for ever")))
    }

    fn poll(&self, notification: CPtr) -> Badge {
        Badge::new(self.state_mut().take_signal(notification).unwrap_or(0))
    }

    fn copy(&self, from: CPtr, to: CPtr, rights: CapRights) -> Result<(), KernelError> {
        self.step()?;
        self.state_mut().copy(from, to, rights, None)
    }

    fn mint(&self, from: CPtr, to: CPtr, rights: CapRights, badge: Badge) -> Result<(), KernelError> {
        self.step()?;
        self.state_mut().copy(from, to, rights, Some(badge.value()))
    }

    fn badge_bits(&self) -> u8 {
        self.state().arch.badge_bits()
    }

    fn delete(&self, slot: CPtr) -> Result<(), KernelError> {
        let slot = State::slot(slot)?;
        self.state_mut().delete(slot);
        Ok(())
    }

    fn revoke(&self, slot: CPtr) -> Result<(), KernelError> {
        let slot = State::slot(slot)?;
        self.state_mut().revoke(slot);
        Ok(())
    }

    fn retype(&self, untyped: CPtr, object: Object, to: CPtr) -> Result<(), KernelError> {
        self.step()?;
        self.state_mut().retype(untyped, object, to)
    }

    fn object_bits(&self, object: Object) -> u8 {
        self.state().arch.object_bits(object)
    }

    fn map_frame(&self, frame: CPtr, space: Space, at: u64, rights: CapRights, _attributes: Attributes) -> Result<(), KernelError> {
        self.step()?;
        self.state_mut().map_frame(frame, space, at, rights)
    }

    fn unmap_frame(&self, frame: CPtr) -> Result<(), KernelError> {
        self.state_mut().unmap_frame(frame)
    }

    fn frame_address(&self, frame: CPtr) -> Result<u64, KernelError> {
        self.step()?;
        self.state_mut().frame_address(frame)
    }

    fn map_table(&self, table: CPtr, bits: u8, space: Space, at: u64) -> Result<(), KernelError> {
        self.step()?;
        self.state_mut().map_table(table, bits, space, at)
    }

    fn unmap_table(&self, table: CPtr, bits: u8, space: Space) -> Result<(), KernelError> {
        self.state_mut().unmap_table(table, bits, space)
    }

    fn assign_asid(&self, pool: CPtr, root: CPtr) -> Result<(), KernelError> {
        self.step()?;
        self.state_mut().assign_asid(pool, root)
    }

    fn receive(&self, endpoint: CPtr) -> Received {
        let received = self.state_mut().take_message(endpoint);
        received.unwrap_or_else(|| panic!("no message at {endpoint}: the caller waits for ever"))
    }

    fn try_receive(&self, endpoint: CPtr) -> Option<Received> {
        self.state_mut().take_message(endpoint)
    }

    fn reply(&self, answer: &Message) {
        let mut state = self.state_mut();
        let caller = state.caller.take();
        if let Some(thread) = caller.flatten().and_then(|thread| state.threads.get_mut(&thread)) {
            thread.running = true;
        }
        state.answers.push(Answer { message: answer.clone(), awaited: caller.is_some() });
    }
}
