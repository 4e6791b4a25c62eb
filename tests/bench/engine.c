/* An engine that takes no time, for measuring what the runner itself costs.

   Acts like `Ras.exe -c PROJECT.prj PROJECT.pNN`, or `ras-standin compute ...`: copies RESULTS to PROJECT.pNN.hdf beside the .prj. Before that it
   appends a line to LOG: the bytes of the files that its workspace (the folder above the project's) has for itself.
   Hard-linked files are not among them: they lie in the runner's store, which is measured by itself.
   RESULTS and LOG are paths, given when it is compiled. As on Windows, a program may be given its command line in one
   piece, which it splits itself: ras-commander starts it so on Linux too. */
#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static long long private_bytes;

static int add(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)path, (void)where;
    if (type == FTW_F && info->st_nlink == 1)
        private_bytes += info->st_size;
    return 0;
}

static int copy(const char *from, const char *to)
{
    static char block[1 << 20];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t size;
    if (!in || !out)
        return perror(in ? to : from), 1;
    while ((size = fread(block, 1, sizeof block, in)) > 0)
        if (fwrite(block, 1, size, out) != size)
            return perror(to), 1;
    fclose(in);
    return fclose(out) ? (perror(to), 1) : 0;
}

/* Splits `"Ras.exe" -c "A.prj" "A.p01"` in place; returns the number of words. */
static int split(char *line, char **words, int most)
{
    int count = 0;
    while (count < most && *(line += strspn(line, " ")) != '\0') {
        const char *ends = *line == '"' ? (line++, "\"") : " ";
        words[count++] = line;
        line += strcspn(line, ends);
        if (*line != '\0')
            *line++ = '\0';
    }
    return count;
}

int main(int count, char **words)
{
    char *parts[5];
    char folder[4096], result[4096];
    const char *project, *slash, *plan;
    size_t stem;
    FILE *log_file;
    if (count == 1)
        count = split(words[0], parts, 5), words = parts;
    if (count != 4 || (strcmp(words[1], "-c") && strcmp(words[1], "compute")) || !strrchr(words[2], '.') || !strrchr(words[3], '.'))
        return fprintf(stderr, "usage: Ras.exe -c PROJECT.prj PROJECT.pNN\n"), 2;
    project = words[2], plan = strrchr(words[3], '.') + 2;
    slash = strrchr(project, '/'), stem = (size_t)(strrchr(project, '.') - project);
    snprintf(folder, sizeof folder, "%.*s..", slash ? (int)(slash - project + 1) : 0, project);
    snprintf(result, sizeof result, "%.*s.p%s.hdf", (int)stem, project, plan);
    if (nftw(folder, add, 16, FTW_PHYS) != 0)
        return perror(folder), 1;
    if (!(log_file = fopen(LOG, "a")))
        return perror(LOG), 1;
    fprintf(log_file, "%lld\n", private_bytes); /* one write: engines that run at once append to one file */
    fclose(log_file);
    return copy(RESULTS, result);
}
