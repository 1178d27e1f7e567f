// SPDX-License-Identifier: GPL-2.0
/*
 * Names and minors of the device nodes: /dev/crossvm/NAME.
 */

#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "driver.h"

static dev_t first_node;
static DEFINE_IDA(minors);
static DEFINE_MUTEX(nodes_lock);
static LIST_HEAD(nodes);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
static char *crossvm_devnode(struct device *dev, umode_t *mode)
#else
static char *crossvm_devnode(const struct device *dev, umode_t *mode)
#endif
{
	return kasprintf(GFP_KERNEL, "crossvm/%s", dev_name(dev));
}

static struct class crossvm_class = {
	.name = "crossvm",
	.devnode = crossvm_devnode,
};

int crossvm_nodes_init(void)
{
	int err = alloc_chrdev_region(&first_node, 0, CROSSVM_MAX_DEVICES, "crossvm");

	if (err)
		return err;
	err = class_register(&crossvm_class);
	if (err)
		unregister_chrdev_region(first_node, CROSSVM_MAX_DEVICES);
	return err;
}

void crossvm_nodes_exit(void)
{
	class_unregister(&crossvm_class);
	unregister_chrdev_region(first_node, CROSSVM_MAX_DEVICES);
	ida_destroy(&minors);
}

/* The last reference has gone, and with it the last open file. */
static void crossvm_release(struct device *dev)
{
	struct crossvm *conn = container_of(dev, struct crossvm, dev);

	if (dev->devt)
		ida_free(&minors, MINOR(dev->devt) - MINOR(first_node));
	kfree(conn);
}

/**
 * crossvm_init_device() - make the device of a connection, without a name yet
 * @conn: new. From here on put_device() frees it
 */
void crossvm_init_device(struct crossvm *conn)
{
	device_initialize(&conn->dev);
	conn->dev.class = &crossvm_class;
	conn->dev.parent = &conn->pdev->dev;
	conn->dev.release = crossvm_release;
	conn->dev.groups = conn->groups;
}

/*
 * NAME as the name of a file. Slashes and what stands for them in device names, white space and
 * control characters become `_`.
 */
static void make_file_name(const struct crossvm *conn, char *node)
{
	char *at;

	strscpy(node, conn->name, CROSSVM_NODE_BYTES);
	for (at = node; *at; at++)
		if (!isascii(*at) || !isgraph(*at) || *at == '/' || *at == '!' || *at == '\\')
			*at = '_';
	if (*node == '.')
		*node = '_';
	if (!*node)
		strscpy(node, pci_name(conn->pdev), CROSSVM_NODE_BYTES);
}

static bool is_taken(const char *node)
{
	const struct crossvm *other;

	list_for_each_entry(other, &nodes, nodes)
		if (!strcmp(other->node, node))
			return true;
	return false;
}

/**
 * crossvm_claim_node() - give a connection a minor, and a node name of its own
 * @conn: its contents are read
 *
 * Return: 0, or an error, for example where there are too many connections; then it has no name.
 */
int crossvm_claim_node(struct crossvm *conn)
{
	char wanted[CROSSVM_NODE_BYTES];
	unsigned int number;
	int minor;
	int err;

	minor = ida_alloc_max(&minors, CROSSVM_MAX_DEVICES - 1, GFP_KERNEL);
	if (minor < 0)
		return minor;
	conn->dev.devt = MKDEV(MAJOR(first_node), MINOR(first_node) + minor);

	make_file_name(conn, wanted);
	mutex_lock(&nodes_lock);
	strscpy(conn->node, wanted, sizeof(conn->node));
	/*
	 * Ends: each of the other nodes, which are fewer than there are minors, can be in the way
	 * once.
	 */
	for (number = 1; is_taken(conn->node); number++)
		snprintf(conn->node, sizeof(conn->node), "%s.%u", wanted, number);
	list_add(&conn->nodes, &nodes);
	mutex_unlock(&nodes_lock);

	err = dev_set_name(&conn->dev, "%s", conn->node);
	if (err)
		crossvm_withdraw(conn);
	return err;
}

/**
 * crossvm_publish() - make the device node
 * @conn: it has a name, and serves from now on
 *
 * Return: 0 or an error.
 */
int crossvm_publish(struct crossvm *conn)
{
	cdev_init(&conn->cdev, &crossvm_file_operations);
	conn->cdev.owner = THIS_MODULE;
	return cdev_device_add(&conn->cdev, &conn->dev);
}

/**
 * crossvm_withdraw() - give the node's name back
 * @conn: its node, if it ever was, is gone
 */
void crossvm_withdraw(struct crossvm *conn)
{
	mutex_lock(&nodes_lock);
	list_del(&conn->nodes);
	mutex_unlock(&nodes_lock);
}
