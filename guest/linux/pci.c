// SPDX-License-Identifier: GPL-2.0
/*
 * Driver for crossvm connections: memory shared with another virtual machine, and events, behind a
 * PCI function.
 */

#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "driver.h"

/* Its name until 6.8. */
#ifndef PCI_IRQ_INTX
#define PCI_IRQ_INTX PCI_IRQ_LEGACY
#endif

static bool msix = true;
module_param(msix, bool, 0444);
MODULE_PARM_DESC(msix, "use MSI-X where the device has it (default: yes)");

static irqreturn_t crossvm_interrupt(int irq, void *data)
{
	struct crossvm *conn = data;
	u32 count;

	spin_lock(&conn->wait.lock);
	count = crossvm_take(conn);
	if (count) {
		conn->interrupts++;
		wake_up_locked_poll(&conn->wait, EPOLLIN | EPOLLRDNORM);
	} else {
		conn->spurious++;
	}
	spin_unlock(&conn->wait.lock);
	/*
	 * An INTx line is shared: zero says that it was another's. A message is ours alone, and its
	 * event may have been taken with the one before.
	 */
	return count || conn->pdev->msix_enabled ? IRQ_HANDLED : IRQ_NONE;
}

/*
 * A function raises its line while events wait, whether its registers are served or not. Where the
 * line is shared, the others' handlers would be called for that again and again, perhaps without
 * this CPU getting any further. So whenever the line may be enabled in the function and nobody
 * serves its registers, this handler is there to disable it.
 */
static irqreturn_t crossvm_guard(int irq, void *data)
{
	struct crossvm *conn = container_of(data, struct crossvm, guard);

	return pci_check_and_mask_intx(conn->pdev) ? IRQ_HANDLED : IRQ_NONE;
}

/* Guards the line. Without one there is nothing to guard, and without memory no guard. */
static void crossvm_guard_line(struct crossvm *conn)
{
	unsigned int irq = conn->pdev->irq;

	if (irq && !request_irq(irq, crossvm_guard, IRQF_SHARED, "crossvm-guard", &conn->guard))
		conn->guard = irq;
}

static void crossvm_unguard_line(struct crossvm *conn)
{
	if (conn->guard)
		free_irq(conn->guard, &conn->guard);
	conn->guard = 0;
}

/* Enables the function. Its line is guarded from then on, and may be enabled. */
static int crossvm_enable(struct crossvm *conn)
{
	struct pci_dev *pdev = conn->pdev;
	int err;

	crossvm_guard_line(conn);
	err = pci_enable_device_mem(pdev);
	if (err) {
		crossvm_unguard_line(conn);
		return err;
	}
	/* There are platforms that know the line only now. */
	if (conn->guard != pdev->irq) {
		crossvm_unguard_line(conn);
		crossvm_guard_line(conn);
	}
	return 0;
}

/* The function neither raises its line nor sends messages any more. */
static void crossvm_silence(struct crossvm *conn)
{
	pci_intx(conn->pdev, 0);
	crossvm_unguard_line(conn);
	pci_clear_master(conn->pdev);
}

/* Takes an interrupt of one of these kinds; what cannot be had is given back. */
static int crossvm_request_irq(struct crossvm *conn, unsigned int kinds)
{
	struct pci_dev *pdev = conn->pdev;
	int err;

	err = pci_alloc_irq_vectors(pdev, 1, 1, kinds);
	if (err < 0)
		return err;
	err = request_irq(pci_irq_vector(pdev, 0), crossvm_interrupt,
			  pdev->msix_enabled ? 0 : IRQF_SHARED, conn->irq_name, conn);
	if (err) {
		pci_free_irq_vectors(pdev);
		return err;
	}
	conn->irq = pci_irq_vector(pdev, 0);
	return 0;
}

/* From here on events are counted. */
static int crossvm_start(struct crossvm *conn)
{
	struct pci_dev *pdev = conn->pdev;
	int err = -ENODEV;

	/* Messages are writes by the function. */
	pci_set_master(pdev);
	snprintf(conn->irq_name, sizeof(conn->irq_name), "crossvm-%s", conn->node);
	if (msix)
		err = crossvm_request_irq(conn, PCI_IRQ_MSIX);
	/* A message that is refused, at whatever step, leaves the line. */
	if (err)
		err = crossvm_request_irq(conn, PCI_IRQ_INTX);
	if (err)
		return dev_err_probe(&pdev->dev, err, "neither MSI-X nor a route for pin A\n");
	crossvm_unguard_line(conn);
	/* The guard may have disabled it. */
	if (!pdev->msix_enabled)
		pci_intx(pdev, 1);

	/* Events that came before: the device interrupts for them, but none should depend on it. */
	spin_lock_irq(&conn->wait.lock);
	crossvm_take(conn);
	spin_unlock_irq(&conn->wait.lock);
	return 0;
}

/* From here on events wait in the device, which is silent. May be called again. */
static void crossvm_stop(struct crossvm *conn)
{
	struct pci_dev *pdev = conn->pdev;

	if (conn->irq < 0)
		return;
	if (pdev->msix_enabled)
		/* When MSI-X is switched off the kernel enables the line. */
		crossvm_guard_line(conn);
	else
		pci_intx(pdev, 0);
	free_irq(conn->irq, conn);
	conn->irq = -ENXIO;
	pci_free_irq_vectors(pdev);
	crossvm_silence(conn);
}

/*
 * Waits for those who use the function right now; nobody does from then on, but for the interrupt
 * handler and sysfs.
 */
static void crossvm_revoke(struct crossvm *conn)
{
	down_write(&conn->revoke);
	spin_lock_irq(&conn->wait.lock);
	WRITE_ONCE(conn->gone, true);
	spin_unlock_irq(&conn->wait.lock);
	up_write(&conn->revoke);
	wake_up_all(&conn->wait);
}

static int crossvm_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct crossvm *conn;
	int err;

	conn = kzalloc(sizeof(*conn), GFP_KERNEL);
	if (!conn)
		return -ENOMEM;
	conn->pdev = pdev;
	conn->irq = -ENXIO;
	init_waitqueue_head(&conn->wait);
	init_rwsem(&conn->revoke);
	mutex_init(&conn->files_lock);
	INIT_LIST_HEAD(&conn->files);
	crossvm_init_device(conn);

	err = crossvm_enable(conn);
	if (err) {
		dev_err_probe(&pdev->dev, err, "cannot be enabled\n");
		goto put;
	}
	err = pci_request_mem_regions(pdev, "crossvm");
	if (err) {
		dev_err_probe(&pdev->dev, err, "its memory is in use\n");
		goto disable;
	}
	if (!(pci_resource_flags(pdev, 0) & IORESOURCE_MEM) ||
	    pci_resource_len(pdev, 0) < CROSSVM_BASIC_END) {
		err = dev_err_probe(&pdev->dev, -EINVAL, "BAR 0 does not hold event registers\n");
		goto release_regions;
	}
	conn->registers = pci_iomap(pdev, 0, SZ_4K);
	if (!conn->registers) {
		err = dev_err_probe(&pdev->dev, -ENOMEM, "the event registers cannot be mapped\n");
		goto release_regions;
	}
	err = crossvm_read_contents(conn);
	if (err)
		goto unmap;
	crossvm_choose_attributes(conn);
	err = crossvm_claim_node(conn);
	if (err) {
		dev_err_probe(&pdev->dev, err, "no device node can be had\n");
		goto unmap;
	}
	err = crossvm_start(conn);
	if (err)
		goto withdraw;
	err = crossvm_publish(conn);
	if (err) {
		dev_err_probe(&pdev->dev, err, "the device node cannot be made\n");
		goto stop;
	}
	pci_set_drvdata(pdev, conn);
	pci_info(pdev, "/dev/crossvm/%s: %s profile, %s, %u dataport(s)\n", conn->node,
		 crossvm_extended(conn) ? "extended" : "reference",
		 pdev->msix_enabled ? "MSI-X" : "INTx", conn->dataport_count);
	return 0;

stop:
	/* Where the device failed and not its number, somebody may have opened it by that already. */
	crossvm_revoke(conn);
	crossvm_unmap_all(conn);
	crossvm_stop(conn);
withdraw:
	crossvm_withdraw(conn);
unmap:
	pci_iounmap(pdev, conn->registers);
release_regions:
	pci_release_mem_regions(pdev);
disable:
	crossvm_silence(conn);
	pci_disable_device(pdev);
put:
	put_device(&conn->dev);
	return err;
}

static void crossvm_remove(struct pci_dev *pdev)
{
	struct crossvm *conn = pci_get_drvdata(pdev);

	crossvm_revoke(conn);
	/* Waits for sysfs. */
	cdev_device_del(&conn->cdev, &conn->dev);
	crossvm_withdraw(conn);
	crossvm_unmap_all(conn);
	crossvm_stop(conn);
	pci_iounmap(pdev, conn->registers);
	pci_release_mem_regions(pdev);
	pci_disable_device(pdev);
	/* Open files keep the connection alive, not the function. */
	put_device(&conn->dev);
}

/* Reboot or kexec: the next kernel must find the function silent. */
static void crossvm_shutdown(struct pci_dev *pdev)
{
	crossvm_stop(pci_get_drvdata(pdev));
}

static const struct pci_device_id crossvm_ids[] = {
	{ PCI_DEVICE(CROSSVM_VENDOR_ID, CROSSVM_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, crossvm_ids);

static struct pci_driver crossvm_driver = {
	.name = "crossvm",
	.id_table = crossvm_ids,
	.probe = crossvm_probe,
	.remove = crossvm_remove,
	.shutdown = crossvm_shutdown,
};

/*
 * Functions that nobody serves yet may have events already: they must not raise the lines that the
 * first of them to be served shares with them. Who enables them later enables their lines.
 */
static void __init crossvm_silence_unbound(void)
{
	struct pci_dev *pdev = NULL;

	while ((pdev = pci_get_device(CROSSVM_VENDOR_ID, CROSSVM_DEVICE_ID, pdev))) {
		device_lock(&pdev->dev);
		if (!pdev->dev.driver)
			pci_intx(pdev, 0);
		device_unlock(&pdev->dev);
	}
}

static int __init crossvm_init(void)
{
	int err = crossvm_nodes_init();

	if (err)
		return err;
	crossvm_silence_unbound();
	err = pci_register_driver(&crossvm_driver);
	if (err)
		crossvm_nodes_exit();
	return err;
}
module_init(crossvm_init);

static void __exit crossvm_exit(void)
{
	pci_unregister_driver(&crossvm_driver);
	crossvm_nodes_exit();
}
module_exit(crossvm_exit);

MODULE_DESCRIPTION("crossvm: connections to other virtual machines");
MODULE_AUTHOR("The crossvm contributors");
MODULE_LICENSE("GPL");
