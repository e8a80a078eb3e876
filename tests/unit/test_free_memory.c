/* floors: base
 *
 * test_free_memory.c - the least of MemAvailable and the control groups' limits, from made-up /proc and /sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/free_memory.h"

#include <cmocka.h>

static char root[64];

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/kiln-free-memory-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *p = path + strlen(root) + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            mkdir(path, 0700);
            *p = '/';
        }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

static void group(const char *folder, int version, const char *limit, const char *usage, const char *stat)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", folder, version == 2 ? "memory.max" : "memory.limit_in_bytes");
    put(name, limit);
    snprintf(name, sizeof name, "%s/%s", folder, version == 2 ? "memory.current" : "memory.usage_in_bytes");
    put(name, usage);
    snprintf(name, sizeof name, "%s/memory.stat", folder);
    put(name, stat);
}

static void without_groups_it_is_what_the_machine_has(void **state)
{
    (void)state;
    assert_int_equal(free_memory(root), 0); /* nothing is known */
    put("/proc/meminfo", "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n");
    assert_int_equal(free_memory(root), 8000000LL * 1024);
    put("/proc/self/cgroup", "0::/\n");
    assert_int_equal(free_memory(root), 8000000LL * 1024);
}

static void version_2_limits_count_up_to_the_top(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/user/job\n");
    group("/sys/fs/cgroup/user/job", 2, "max\n", "900000000\n", "anon 5\n");
    assert_int_equal(free_memory(root), 8000000LL * 1024);
    group("/sys/fs/cgroup/user/job", 2, "3000000000\n", "900000000\n", "anon 5\n");
    assert_int_equal(free_memory(root), 2100000000);
    /* Page cache can be had back. */
    group("/sys/fs/cgroup/user/job", 2, "3000000000\n", "900000000\n",
          "anon 100000000\nfile 800000000\ninactive_file 500000000\nactive_file 300000000\n");
    assert_int_equal(free_memory(root), 2900000000);
    /* A group above is tighter. */
    group("/sys/fs/cgroup/user", 2, "2000000000\n", "500000000\n", "");
    assert_int_equal(free_memory(root), 1500000000);
    /* Over the limit: as little as can be, but known. */
    group("/sys/fs/cgroup/user", 2, "2000000000\n", "2500000000\n", "");
    assert_int_equal(free_memory(root), 1);
    group("/sys/fs/cgroup/user", 2, "max\n", "2500000000\n", "");
    /* A looser limit than the machine's memory does not matter. */
    group("/sys/fs/cgroup/user/job", 2, "90000000000\n", "900000000\n", "");
    assert_int_equal(free_memory(root), 8000000LL * 1024);
}

static void in_a_container_the_top_is_ones_own(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/not/to/be/seen\n");
    group("/sys/fs/cgroup", 2, "1000000000\n", "400000000\n", "");
    assert_int_equal(free_memory(root), 600000000);
    put("/proc/self/cgroup", "0::/../../elsewhere\n");
    assert_int_equal(free_memory(root), 600000000);
    group("/sys/fs/cgroup", 2, "max\n", "400000000\n", "");
}

static void version_1_limits_count_too(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n0::/\n");
    group("/sys/fs/cgroup/memory", 1, "9223372036854771712\n", "7000000000\n", "");
    assert_int_equal(free_memory(root), 8000000LL * 1024);
    group("/sys/fs/cgroup/memory/docker/abc", 1, "4000000000\n", "1500000000\n",
          "inactive_file 1\ntotal_inactive_file 300000000\ntotal_active_file 200000000\n");
    assert_int_equal(free_memory(root), 3000000000);
}

static void garbage_sets_no_limit(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "", "\n", "::", "0", "0:", "0::", "4:memory", ":::::\n", "0::/a/../../../..\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        put("/proc/self/cgroup", lines[i]);
        assert_int_equal(free_memory(root), 8000000LL * 1024);
    }
    put("/proc/self/cgroup", "0::/user/job\n");
    group("/sys/fs/cgroup/user/job", 2, "much\n", "\n", "inactive_file\n");
    assert_int_equal(free_memory(root), 8000000LL * 1024);
    group("/sys/fs/cgroup/user/job", 2, "-5\n", "-7\n", "inactive_file -1\n");
    assert_int_equal(free_memory(root), 8000000LL * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_groups_it_is_what_the_machine_has),
        cmocka_unit_test(version_2_limits_count_up_to_the_top),
        cmocka_unit_test(in_a_container_the_top_is_ones_own),
        cmocka_unit_test(version_1_limits_count_too),
        cmocka_unit_test(garbage_sets_no_limit),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
