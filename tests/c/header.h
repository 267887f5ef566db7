/* The functions that bert.h declares, for tests that must have a case for each. */

#ifndef HEADER_H
#define HEADER_H

#include <ctype.h>

#include "check.h"

/* A file of the project's, by its path from the project's directory; for free(). */
static inline char *project_file(const char *name)
{
    char *path = project_path(name), *text = read_bytes(path, NULL);
    CHECK(text != NULL);
    free(path);
    return text;
}

/* Calls `visit` with the name of each function, and gives their number. */
static inline size_t each_function(void (*visit)(const char *name))
{
    char *header = project_file("include/bert.h");
    size_t found = 0;
    for (char *line = strtok(header, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        /* Declarations begin at the margin; comments and later parameters don't. */
        char *open = strchr(line, '(');
        if (!isalpha((unsigned char)line[0]) || open == NULL || strncmp(line, "typedef", 7) == 0) {
            continue;
        }
        char *name = open;
        while (name > line && (isalnum((unsigned char)name[-1]) || name[-1] == '_')) {
            name--;
        }
        if (strncmp(name, "bert_", 5) == 0) {
            *open = 0;
            visit(name);
            found++;
        }
    }
    free(header);
    CHECK(found > 50);
    return found;
}

#endif
