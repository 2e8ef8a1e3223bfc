/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * specimen.h — a slide that is computed, not scanned: pink tissue with purple nuclei on white glass. One band
 * is out of focus until the camera refocuses. It stands in for the camera of every example. C11 and C++17.
 */
#ifndef SPECIMEN_H
#define SPECIMEN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SPECIMEN_WIDTH = 2016,
    SPECIMEN_HEIGHT = 1120,
    SPECIMEN_BLUR_BEGIN = 1120, /* The band that is out of focus: x from here ... */
    SPECIMEN_BLUR_END = 1568,   /* ... to before here. */
    SPECIMEN_CELL = 22          /* Side of the squares that hold one nucleus each, in pixels. */
};

/** Micrometres per pixel: a 20x scanner. */
static const double specimen_mpp = 0.5;

/* Noise between 0 and 1 that depends on the place alone: a field that is captured again looks the same. */
static inline float specimen_noise(int32_t x, int32_t y, uint32_t salt) {
    uint32_t h = (uint32_t)x * 0x8DA6B343u ^ (uint32_t)y * 0xD8163841u ^ salt * 0xCB1AB31Fu;
    h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
    h = (h ^ (h >> 12)) * 0x297A2D39u;
    return (float)((h ^ (h >> 15)) >> 8) / 16777216.0f;
}

/* 0 below a, 1 above b, linear between. */
static inline float specimen_ramp(float a, float b, float v) {
    const float t = (v - a) / (b - a);
    return t < 0.0f ? 0.0f : t > 1.0f ? 1.0f : t;
}

/* The share of this pixel that is nucleus, 0 to 1: the largest over the jittered discs of the 9 cells around. */
static inline float specimen_nucleus(int32_t x, int32_t y, float softness) {
    const int32_t cell_x = x / SPECIMEN_CELL, cell_y = y / SPECIMEN_CELL;
    float most = 0.0f;
    for (int32_t j = cell_y - 1; j <= cell_y + 1; j++) {
        for (int32_t i = cell_x - 1; i <= cell_x + 1; i++) {
            const float dx = (float)(x - i * SPECIMEN_CELL) - (float)SPECIMEN_CELL * specimen_noise(i, j, 1);
            const float dy = (float)(y - j * SPECIMEN_CELL) - (float)SPECIMEN_CELL * specimen_noise(i, j, 2);
            const float radius = 3.0f + 5.0f * specimen_noise(i, j, 3);
            const float inside = 1.0f - specimen_ramp(radius - softness, radius + softness, sqrtf(dx * dx + dy * dy));
            if (inside > most) most = inside;
        }
    }
    return most;
}

/** What the camera sees at x, y: red, green, blue. With `refocused` the band is sharp too. */
static inline void specimen_pixel(int32_t x, int32_t y, int refocused, uint8_t rgb[3]) {
    static const float glass[3] = {243.0f, 241.0f, 244.0f};
    static const float eosin[3] = {226.0f, 158.0f, 190.0f};
    static const float hematoxylin[3] = {94.0f, 62.0f, 138.0f};
    const int sharp = refocused || x < SPECIMEN_BLUR_BEGIN || x >= SPECIMEN_BLUR_END;

    /* The tissue: an ellipse with a wavy edge. */
    const float u = ((float)x / (float)SPECIMEN_WIDTH - 0.5f) / 0.44f;
    const float v = ((float)y / (float)SPECIMEN_HEIGHT - 0.5f) / 0.40f;
    const float edge = sqrtf(u * u + v * v) + 0.06f * sinf(7.0f * u + 4.0f * v) + 0.04f * sinf(11.0f * v);
    const float tissue = 1.0f - specimen_ramp(0.98f, 1.0f, edge);

    const float nucleus = tissue > 0.0f ? tissue * specimen_nucleus(x, y, sharp ? 0.8f : 6.0f) : 0.0f;
    const float fibre = 10.0f * sinf(0.11f * (float)x + 3.0f * sinf(0.03f * (float)y));
    /* The camera's grain, and the tissue's fine structure where the lens resolves it. */
    const float grain = (specimen_noise(x, y, 4) - 0.5f) * (sharp ? 3.0f + 18.0f * tissue : 3.0f);
    for (int c = 0; c < 3; c++) {
        float value = glass[c] + tissue * (eosin[c] + fibre - glass[c]);
        value += nucleus * (hematoxylin[c] - value) + grain;
        rgb[c] = (uint8_t)(value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value);
    }
}

/** Captures the field whose upper left corner is at x, y: `height` rows of 3 * `width` bytes, RGB. */
static inline void specimen_capture(int32_t x, int32_t y, uint32_t width, uint32_t height, int refocused,
                                    uint8_t *pixels) {
    for (uint32_t row = 0; row < height; row++) {
        for (uint32_t column = 0; column < width; column++) {
            uint8_t *rgb = pixels + 3 * ((size_t)row * width + column);
            specimen_pixel(x + (int32_t)column, y + (int32_t)row, refocused, rgb);
        }
    }
}

#ifdef __cplusplus
}
#endif

#endif /* SPECIMEN_H */
