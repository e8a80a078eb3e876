/* progress.c - see progress.h. */
#include "progress.h"

#include "interrupt.h"
#include "message.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR_MAX = 28 };

/* The one bar. */
static struct {
    char stage[24];
    int image;
    double began, drawn;
    bool visible;
} bar;

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void progress_clear(void)
{
    if (bar.visible)
        fputs("\r\033[K", stderr);
    bar.visible = false;
}

/* Whether the stage counts steps; else it counts weights or bytes. */
static bool counts_steps(const char *stage)
{
    static const char *const stages[] = {"text", "draw", "decode", "encode", "upscale"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        if (strcmp(stage, stages[i]) == 0)
            return true;
    return false;
}

static void duration_text(double seconds, char *text, size_t size)
{
    int s = seconds > 359999 ? 359999 : (int)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%d:%02d", s / 60, s % 60);
}

/* "12/20  1.31 s/step  0:11 left"; "upscale" counts tiles */
static void figures_text(const kiln_progress *p, double elapsed, char *text, size_t size)
{
    char amount[64], rate[48] = "", left[32] = "";
    bool steps = counts_steps(p->stage), weights = strcmp(p->stage, "loading") == 0;
    const char *unit = strcmp(p->stage, "upscale") == 0 ? "tile" : "step";
    if (weights)
        snprintf(amount, sizeof amount, "%.0f of %.0f million weights", (double)p->done / 1e6,
                 (double)p->total / 1e6);
    else if (steps && p->total == 0)
        amount[0] = '\0';
    else if (steps)
        snprintf(amount, sizeof amount, "%lld/%lld", (long long)p->done, (long long)p->total);
    else if (p->total > 0)
        snprintf(amount, sizeof amount, "%s of %s", bytes_text(p->done), bytes_text(p->total));
    else
        snprintf(amount, sizeof amount, "%s", bytes_text(p->done));
    if (p->done > 0 && elapsed > 0.2) {
        double each = elapsed / (double)p->done;
        if (!steps && !weights)
            snprintf(rate, sizeof rate, "  %s/s", bytes_text((int64_t)(1 / each)));
        else if (steps && each < 1)
            snprintf(rate, sizeof rate, "  %.2f %ss/s", 1 / each, unit);
        else if (steps)
            snprintf(rate, sizeof rate, "  %.2f s/%s", each, unit);
        if (p->total > p->done) {
            char time[24];
            duration_text(each * (double)(p->total - p->done), time, sizeof time);
            snprintf(left, sizeof left, "  %s left", time);
        }
    }
    snprintf(text, size, "%s%s%s", amount, rate, left);
}

static void bar_draw(const kiln_progress *p, double elapsed)
{
    char figures[160], picture[32] = "", line[320], cells[BAR_MAX + 1];
    figures_text(p, elapsed, figures, sizeof figures);
    if (p->images > 1)
        snprintf(picture, sizeof picture, " %d/%d", p->image + 1, p->images);
    double fraction = p->total > 0 ? (double)p->done / (double)p->total : 0;
    int filled = (int)(BAR_MAX * (fraction < 0 ? 0 : fraction > 1 ? 1 : fraction));
    for (int i = 0; i < BAR_MAX; i++)
        cells[i] = i < filled ? '#' : '.';
    cells[BAR_MAX] = '\0';
    if (p->total > 0)
        snprintf(line, sizeof line, "%-8s%s [%s] %s", p->stage, picture, cells, figures);
    else
        snprintf(line, sizeof line, "%-8s%s %s", p->stage, picture, figures);
    fprintf(stderr, "\r%.*s\033[K", terminal_columns() - 1, line);
    fflush(stderr);
    bar.visible = true;
}

static void preview_write(progress_view *view, const kiln_image *picture)
{
    kiln_error err = {0};
    if (view->preview_failed || kiln_image_write(view->preview, picture, 0, &err) == KILN_OK)
        return;
    view->preview_failed = true;
    warn("no preview: %s", err.text);
}

bool progress_show(void *user, const kiln_progress *p)
{
    progress_view *view = user;
    if (view && view->preview && p->preview)
        preview_write(view, p->preview);
    if (isatty(STDERR_FILENO) && !(view && view->quiet)) {
        double now = seconds_now();
        if (strcmp(bar.stage, p->stage) != 0 || bar.image != p->image || p->done == 0) {
            snprintf(bar.stage, sizeof bar.stage, "%s", p->stage);
            bar.image = p->image;
            bar.began = now;
            bar.drawn = 0;
        }
        if (now - bar.drawn > 0.1 || (p->total > 0 && p->done == p->total)) {
            bar.drawn = now;
            bar_draw(p, now - bar.began);
        }
    }
    return !interrupt_seen();
}
