// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/crossvm/NAME: open, read, write, poll.
 */

#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "driver.h"

static struct crossvm *connection_of(struct file *file)
{
	struct crossvm_file *opened = file->private_data;

	return opened->conn;
}

static int crossvm_open(struct inode *inode, struct file *file)
{
	struct crossvm *conn = container_of(inode->i_cdev, struct crossvm, cdev);
	struct crossvm_file *opened = kzalloc(sizeof(*opened), GFP_KERNEL);
	int err = -ENODEV;

	if (!opened)
		return -ENOMEM;
	opened->conn = conn;
	opened->mapping = file->f_mapping;
	down_read(&conn->revoke);
	if (!conn->gone) {
		mutex_lock(&conn->files_lock);
		list_add(&opened->files, &conn->files);
		mutex_unlock(&conn->files_lock);
		file->private_data = opened;
		err = stream_open(inode, file);
	}
	up_read(&conn->revoke);
	if (err)
		kfree(opened);
	return err;
}

static int crossvm_release_file(struct inode *inode, struct file *file)
{
	struct crossvm_file *opened = file->private_data;

	mutex_lock(&opened->conn->files_lock);
	list_del(&opened->files);
	mutex_unlock(&opened->conn->files_lock);
	kfree(opened);
	return 0;
}

/* The exact number of events since the last read, as 8 bytes; sleeps for the first. */
static ssize_t crossvm_read(struct file *file, char __user *buffer, size_t size, loff_t *position)
{
	struct crossvm *conn = connection_of(file);
	u64 events;
	int err = 0;

	if (size < sizeof(events))
		return -EINVAL;

	spin_lock_irq(&conn->wait.lock);
	if (file->f_flags & O_NONBLOCK)
		err = conn->events || conn->gone ? 0 : -EAGAIN;
	else
		err = wait_event_interruptible_locked_irq(conn->wait, conn->events || conn->gone);
	events = err ? 0 : conn->events;
	conn->events -= events;
	spin_unlock_irq(&conn->wait.lock);
	if (err)
		return err;
	/* What came before it went is still read. */
	if (!events)
		return -ENODEV;

	if (!copy_to_user(buffer, &events, sizeof(events)))
		return sizeof(events);
	/* Nobody has seen them: let the next reader have them. */
	spin_lock_irq(&conn->wait.lock);
	conn->events += events;
	wake_up_locked_poll(&conn->wait, EPOLLIN | EPOLLRDNORM);
	spin_unlock_irq(&conn->wait.lock);
	return -EFAULT;
}

/* One byte of any value: one signal. 8 bytes: as many signals as the number says. */
static ssize_t crossvm_write(struct file *file, const char __user *buffer, size_t size,
			     loff_t *position)
{
	struct crossvm *conn = connection_of(file);
	ssize_t done = size;
	u64 signals;
	u8 byte;

	switch (size) {
	case sizeof(byte):
		if (get_user(byte, buffer))
			return -EFAULT;
		signals = 1;
		break;
	case sizeof(signals):
		if (copy_from_user(&signals, buffer, sizeof(signals)))
			return -EFAULT;
		if (!signals || signals > CROSSVM_MAX_EMITS)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}

	for (; signals; signals--) {
		/* For each anew, so that whoever takes the function away does not wait for all. */
		down_read(&conn->revoke);
		if (conn->gone)
			done = -ENODEV;
		else if (fatal_signal_pending(current))
			done = -EINTR;
		else
			crossvm_emit(conn);
		up_read(&conn->revoke);
		if (done < 0)
			break;
		cond_resched();
	}
	return done;
}

static __poll_t crossvm_poll(struct file *file, poll_table *table)
{
	struct crossvm *conn = connection_of(file);
	__poll_t ready = 0;

	poll_wait(file, &conn->wait, table);
	spin_lock_irq(&conn->wait.lock);
	if (conn->events)
		ready |= EPOLLIN | EPOLLRDNORM;
	ready |= conn->gone ? EPOLLHUP | EPOLLERR : EPOLLOUT | EPOLLWRNORM;
	spin_unlock_irq(&conn->wait.lock);
	return ready;
}

static int crossvm_mmap(struct file *file, struct vm_area_struct *vma)
{
	return crossvm_map(connection_of(file), vma);
}

const struct file_operations crossvm_file_operations = {
	.owner = THIS_MODULE,
	.open = crossvm_open,
	.release = crossvm_release_file,
	.read = crossvm_read,
	.write = crossvm_write,
	.poll = crossvm_poll,
	.mmap = crossvm_mmap,
};
