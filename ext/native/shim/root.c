/* What a container sees: a writable layer in memory over the host's root, fresh /proc, /dev and /run, then its volumes.
 *
 * The order matters. The new root is made beside the old one and entered with pivot_root; the old one stays at /.host
 * until every mount has been made, so that targets are resolved inside the new root (a volume's symlink cannot lead
 * out of it) and sources outside. The host's own files are never changed: a mount point that does not exist is made
 * in the layer.
 *
 * In a user namespace the kernel refuses a layer over a root that has mounts in it. The new root is then put together in
 * memory: a layer over each top folder that allows one, and the others as they are. */

#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HOST "/.host"
#define PATH_ROOM 4352

static void attach(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    if (mount(source, target, type, flags, data) < 0) {
        fail("mount", target);
    }
}

static void make_directories(const char *path) {
    char partial[PATH_ROOM];
    snprintf(partial, sizeof partial, "%s", path);
    for (char *slash = partial + 1; *slash; slash++) {
        if (*slash == '/') {
            *slash = 0;
            if (mkdir(partial, 0755) < 0 && errno != EEXIST && errno != EROFS) {
                fail("make directory", partial);
            }
            *slash = '/';
        }
    }
    if (mkdir(partial, 0755) < 0 && errno != EEXIST) {
        fail("make directory", partial);
    }
}

/* A file to mount over. A symlink there (resolv.conf is often one) would lead the mount elsewhere: it is replaced, or,
 * where its folder is another's, what it points to is made. */
static void make_file(const char *path) {
    char parent[PATH_ROOM];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = 0;
        make_directories(parent);
    }
    struct stat stat;
    bool exists = lstat(path, &stat) == 0;
    if (exists && S_ISLNK(stat.st_mode) && unlink(path) < 0) {
        char link[PATH_ROOM], target[2 * PATH_ROOM];
        ssize_t length = readlink(path, link, sizeof link - 1);
        if (length > 0) {
            link[length] = 0;
            snprintf(target, sizeof target, "%s%s%s", link[0] == '/' ? "" : parent, link[0] == '/' ? "" : "/", link);
            make_file(target);
        }
        return;
    }
    if (exists && !S_ISLNK(stat.st_mode)) {
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        fail("make file", path);
    }
    close(fd);
}

static bool is_own_tree(const char *name) {
    static const char *own[] = {".", "..", "proc", "sys", "dev", "run", HOST + 1};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (!strcmp(name, own[i])) {
            return true;
        }
    }
    return false;
}

/* One top folder of the host in the new root: layered if the kernel allows, else the host's own. */
static void layer_folder(const struct spec *spec, const char *name, const char *target) {
    char upper[PATH_ROOM], work[PATH_ROOM], options[3 * PATH_ROOM], source[PATH_ROOM];
    snprintf(upper, sizeof upper, "%s/upper/%s.upper", spec->root, name);
    snprintf(work, sizeof work, "%s/upper/%s.work", spec->root, name);
    snprintf(source, sizeof source, "/%s", name);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,userxattr", source, upper, work);
    if (mkdir(target, 0755) < 0 || mkdir(upper, 0755) < 0 || mkdir(work, 0755) < 0) {
        fail("make directory", target);
    }
    if (mount("overlay", target, "overlay", 0, options) < 0) {
        attach(source, target, NULL, MS_BIND | MS_REC, NULL);
    }
}

static void assemble_root(const struct spec *spec, const char *root) {
    static const char *own[] = {"proc", "sys", "dev", "run"};
    char target[PATH_ROOM], link[PATH_ROOM], source[PATH_ROOM];
    DIR *top = opendir("/");
    if (!top) {
        fail("read", "/");
    }
    for (struct dirent *entry; (entry = readdir(top));) {
        struct stat stat;
        snprintf(source, sizeof source, "/%s", entry->d_name);
        if (is_own_tree(entry->d_name) || lstat(source, &stat) < 0) {
            continue;
        }
        snprintf(target, sizeof target, "%s/%s", root, entry->d_name);
        if (S_ISDIR(stat.st_mode)) {
            layer_folder(spec, entry->d_name, target);
        } else if (S_ISLNK(stat.st_mode)) {
            ssize_t length = readlink(source, link, sizeof link - 1);
            if (length > 0) {
                link[length] = 0;
                (void)!symlink(link, target);
            }
        }
    }
    closedir(top);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        snprintf(target, sizeof target, "%s/%s", root, own[i]);
        if (mkdir(target, 0755) < 0) {
            fail("make directory", target);
        }
    }
    if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0) { /* pivot_root wants a mount point */
        fail("mount", root);
    }
}

static void enter_new_root(const struct spec *spec) {
    char path[PATH_ROOM], options[3 * PATH_ROOM];
    if (unshare(CLONE_NEWNS) < 0) {
        fail("unshare", "mounts");
    }
    attach(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    snprintf(options, sizeof options, "mode=0755,size=%s", spec->root_size ? spec->root_size : "50%");
    attach("layer", spec->root, "tmpfs", 0, options);
    const char *parts[] = {"upper", "work", "root"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", spec->root, parts[i]);
        if (mkdir(path, 0755) < 0) {
            fail("make directory", path);
        }
    }
    snprintf(options, sizeof options, "lowerdir=/,upperdir=%s/upper,workdir=%s/work%s", spec->root, spec->root,
             spec->user_namespace ? ",userxattr" : "");
    if (mount("overlay", path, "overlay", 0, options) < 0) {
        assemble_root(spec, path);
    }
    if (chdir(path) < 0) {
        fail("enter", path);
    }
    if (mkdir(HOST + 1, 0700) < 0 && errno != EEXIST) {
        fail("make directory", HOST);
    }
    if (syscall(SYS_pivot_root, ".", HOST + 1) < 0) {
        fail("pivot to", path);
    }
    if (chdir("/") < 0) {
        fail("enter", "/");
    }
}

/* Unprivileged devices. In a user namespace mknod is refused: the host's own are bound instead. */
static void make_devices(void) {
    static const char *names[] = {"null", "zero", "full", "random", "urandom", "tty"};
    attach("dev", "/dev", "tmpfs", MS_NOSUID, "mode=0755,size=64k");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char source[64], target[64];
        snprintf(source, sizeof source, HOST "/dev/%s", names[i]);
        snprintf(target, sizeof target, "/dev/%s", names[i]);
        make_file(target);
        attach(source, target, NULL, MS_BIND, NULL);
    }
    make_directories("/dev/pts");
    make_directories("/dev/shm");
    if (mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620") < 0) {
        attach(HOST "/dev/pts", "/dev/pts", NULL, MS_BIND | MS_REC, NULL);
    }
    if (symlink("pts/ptmx", "/dev/ptmx") < 0 || symlink("/proc/self/fd", "/dev/fd") < 0 ||
        symlink("/proc/self/fd/0", "/dev/stdin") < 0 || symlink("/proc/self/fd/1", "/dev/stdout") < 0 ||
        symlink("/proc/self/fd/2", "/dev/stderr") < 0) {
        fail("make links in", "/dev");
    }
    attach("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m");
}

/* The kernel's own trees. /proc cannot be mounted anew where parts of it are masked: then the host's stays. */
static void make_kernel_trees(const struct spec *spec) {
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
        attach(HOST "/proc", "/proc", NULL, MS_BIND | MS_REC, NULL);
    }
    attach(HOST "/sys", "/sys", NULL, MS_BIND | MS_REC, NULL);
    if (spec->privileged) {
        attach(HOST "/dev", "/dev", NULL, MS_BIND | MS_REC, NULL);
    } else {
        make_devices();
    }
    attach("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=10%");
}

static void make_mount(const struct mount *wanted) {
    char source[PATH_ROOM];
    struct stat stat;
    snprintf(source, sizeof source, HOST "%s", wanted->source);
    if (lstat(source, &stat) < 0) {
        fail("find", wanted->source);
    }
    if (S_ISDIR(stat.st_mode)) {
        make_directories(wanted->target);
    } else {
        make_file(wanted->target);
    }
    attach(source, wanted->target, NULL, MS_BIND | MS_REC, NULL);
    if (strstr(wanted->options, "ro")) {
        attach(NULL, wanted->target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
    }
    if (strstr(wanted->options, "shared")) {
        attach(NULL, wanted->target, NULL, MS_SHARED | MS_REC, NULL);
    } else if (strstr(wanted->options, "slave")) {
        attach(NULL, wanted->target, NULL, MS_SLAVE | MS_REC, NULL);
    }
}

void build_root(const struct spec *spec) {
    enter_new_root(spec);
    make_kernel_trees(spec);
    for (int i = 0; i < spec->n_hidden; i++) {
        struct stat stat;
        if (lstat(spec->hidden[i], &stat) == 0 && S_ISDIR(stat.st_mode)) {
            attach("hidden", spec->hidden[i], "tmpfs", MS_RDONLY, "mode=0000,size=4k");
        }
    }
    for (int i = 0; i < spec->n_mounts; i++) {
        make_mount(&spec->mounts[i]);
    }
    if (umount2(HOST, MNT_DETACH) < 0) {
        fail("unmount", HOST);
    }
    rmdir(HOST);
    if (spec->read_only_root) {
        attach(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
    }
}
