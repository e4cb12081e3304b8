/* A qemu plugin: how many instructions of the guest each function executes.
 *
 * Blocks are counted as they run, and added up at exit under the symbol that they begin in. The
 * counts do not depend on the host, on time or on optimisations of the emulator. The declarations
 * are those of the plugin interface, version 1 (qemu's documentation, "TCG Plugins"), which Debian
 * packages without its header.
 *
 *     cc -O2 -shared -fPIC count_instructions.c -o count.so
 *     qemu-aarch64 -plugin ./count.so,out=OUT.txt program ...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 = 0 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct function {
    struct function *next;
    char *name;
    uint64_t instructions;
};

static struct function *functions;
static char *output;

static struct function *find(const char *name)
{
    struct function *f;
    for (f = functions; f != NULL; f = f->next)
        if (strcmp(f->name, name) == 0)
            return f;
    f = calloc(1, sizeof *f);
    f->name = strdup(name);
    f->next = functions;
    functions = f;
    return f;
}

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    const char *symbol = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(block, 0));
    struct function *f = find(symbol != NULL && *symbol != 0 ? symbol : "?");
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &f->instructions,
                                             qemu_plugin_tb_n_insns(block));
}

static void at_exit(plugin_id id, void *data)
{
    FILE *file = fopen(output, "w");
    struct function *f;
    (void)id;
    (void)data;
    if (file == NULL)
        return;
    for (f = functions; f != NULL; f = f->next)
        fprintf(file, "%llu %s\n", (unsigned long long)f->instructions, f->name);
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info,
                                                               int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0)
        return 1;
    output = strdup(argv[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
