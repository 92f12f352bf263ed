/* User, groups, capabilities: what the process may do from here on. */

#include "shim.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LAST_CAPABILITY 63

static void set_capabilities(uint64_t wanted) {
    for (int capability = 0; capability <= LAST_CAPABILITY; capability++) {
        if (!(wanted >> capability & 1) && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) {
            if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
                fail("drop", "capability");
            }
        }
    }
}

static void limit_sets(uint64_t wanted, bool effective) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct now[2], next[2] = {0};
    if (syscall(SYS_capget, &header, now) < 0) {
        fail("read", "capabilities");
    }
    for (int half = 0; half < 2; half++) {
        uint32_t bits = (uint32_t)(wanted >> (32 * half)) & now[half].permitted;
        next[half].permitted = effective ? bits : 0;
        next[half].effective = effective ? bits : 0;
    }
    if (syscall(SYS_capset, &header, next) < 0) {
        fail("set", "capabilities");
    }
}

void take_identity(const struct spec *spec) {
    gid_t groups[GROUPS_MAX];
    for (int i = 0; i < spec->n_groups; i++) {
        groups[i] = (gid_t)spec->groups[i];
    }
    bool changes_user = spec->user > 0;
    bool changes_groups = changes_user || spec->group > 0 || spec->n_groups;
    if (changes_groups && !spec->user_namespace && setgroups((size_t)spec->n_groups, groups) < 0) {
        fail("set", "groups");
    }
    if (!spec->keeps_capabilities && !spec->privileged) {
        set_capabilities(spec->capabilities);
    }
    if (spec->group >= 0 && setresgid((gid_t)spec->group, (gid_t)spec->group, (gid_t)spec->group) < 0) {
        fail("become", "group");
    }
    if (changes_user && setresuid((uid_t)spec->user, (uid_t)spec->user, (uid_t)spec->user) < 0) {
        fail("become", "user");
    }
    /* Leaving uid 0 has already emptied the effective and permitted sets. */
    if (!changes_user && !spec->keeps_capabilities && !spec->privileged) {
        limit_sets(spec->capabilities, true);
    }
    if (spec->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        fail("set", "no_new_privs");
    }
}
