/* grid_cells.h - the pictures of a grid: the values of each, and the file in which it waits when it is drawn.
 *
 * A cell's file carries all that it was drawn from as a text: every option, and size and time of every file that they
 * name. A grid that is begun again takes the files whose text is the same, and draws the others. */
#ifndef KILN_CLI_GRID_CELLS_H
#define KILN_CLI_GRID_CELLS_H

#include "draw_options.h"
#include "grid_axis.h"

enum { GRID_AXES = 3 }; /* x, y, z: columns, rows, layers */

typedef struct grid_cell {
    draw_values values;
    char *prompt, *negative; /* what "replace" made of them; NULL: untouched */
    char *from;              /* the text */
    char *path;              /* its file */
    int group;               /* cells of one number have one model */
    kiln_image *picture;
} grid_cell;

typedef struct grid_cells {
    const command *command;
    grid_axis axes[GRID_AXES]; /* one that was not asked for has count 0 */
    grid_cell *cell;           /* [z][y][x] */
    int count, groups;
} grid_cells;

/* Values along an axis, at least 1. */
int grid_along(const grid_cells *, int axis);
/* Make the cells of the axes over `base`. Complains and gives an exit status when an option does not take a value. */
int grid_cells_make(grid_cells *, const draw_values *base);
/* Their texts, and their files in `folder`. */
int grid_cells_name(grid_cells *, const char *folder);
/* Take what was drawn before: pictures whose file's text is the same. Gives how many. */
int grid_cells_find(grid_cells *);
/* Write a cell's picture into its file. */
int grid_cell_keep(grid_cell *);
/* How the sheet and the messages call value i of an axis. In a buffer of `size` bytes. */
const char *grid_label(const grid_axis *, int i, char *text, size_t size);
void grid_cells_free(grid_cells *);

#endif
