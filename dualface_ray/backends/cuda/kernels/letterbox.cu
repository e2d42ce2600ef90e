// Slots of any streams -> letterboxed RGB, planar, straight into the engine's input; one launch for a whole batch.
//
// One thread makes one pixel of the input. Luma is the mean over the pixel's footprint in the source where the picture
// shrinks, linear interpolation where it grows, each axis by itself; chroma likewise over twice that footprint, because
// the source holds half as many samples and the network does not look at fine colour.
//
// A block makes ACROSS x DOWN pixels and first writes down the taps of its columns and rows: divisions and limits, made
// by every thread anew, took longer than the sums. Where a footprint is wider than FEW samples (a 1080p picture has 3 or
// 4 to a pixel), the weights are made on the way. Grid: (blocks across, blocks down, batch).

#define FEW 4
#define ACROSS 32
#define DOWN 8

struct LetterboxItem {
  u64 slot;             // address of the first luma sample
  int pitch;            // samples per row, luma and chroma alike
  int slot_rows;        // luma rows before the chroma plane
  int width, height;    // stored picture
  int content_width, content_height;  // of the stored picture inside the input, before it is turned
  int rotation;         // clockwise, 0, 90, 180, 270
  int wide;             // 0: 8-bit samples; 1: 10 bits at the top of 16
  float matrix[12];     // row by row: R, G, B = M[:, :3] (Y, U, V) + M[:, 3]
};

__device__ __forceinline__ Taps letterbox_taps(int index, int content, int size, float spread) {
  float step = (float)size / (float)content;
  float centre = ((float)index + 0.5f) * step;
  float half = 0.5f * step * spread;
  return half * 2.0f > 1.0f ? area_taps(centre, half, size) : linear_taps(centre, size);
}

struct Footprint {
  Taps taps;
  float few[FEW];  // weights
};

// Of a block's pixels on one axis of the stored picture.
template <int pixels>
struct AxisTaps {
  Footprint luma[pixels], chroma[pixels];
};

// Those of pixels first..last - 1 along an axis, counted from the far end where the picture is turned that way.
template <int pixels>
__device__ __forceinline__ void fill_taps(AxisTaps<pixels> *axis, int first, int last, int from_end, int content,
                                          int size) {
  int chroma_size = (size + 1) / 2;
  for (int i = threadIdx.x; i < 2 * pixels; i += blockDim.x) {
    int number = i % pixels, index = first + number;
    if (index >= last) continue;
    if (from_end) index = content - 1 - index;
    Footprint *to = i < pixels ? axis->luma + number : axis->chroma + number;
    to->taps = i < pixels ? letterbox_taps(index, content, size, 1.0f) : letterbox_taps(index, content, chroma_size, 2.0f);
    for (int k = 0; k < FEW; ++k) to->few[k] = k < to->taps.count ? tap_weight(to->taps, k) : 0.0f;
  }
}

struct Narrow {
  const u8 *samples;
  __device__ __forceinline__ float one(int index) const { return (float)samples[index]; }
  __device__ __forceinline__ void both(int index, float *u, float *v) const {  // u lies at an even address
    u32 pair = *(const u16 *)(samples + index);
    *u = (float)(pair & 0xffu), *v = (float)(pair >> 8);
  }
};

struct Wide {
  const u16 *samples;
  __device__ __forceinline__ float one(int index) const { return (float)samples[index] * (1.0f / 256.0f); }
  __device__ __forceinline__ void both(int index, float *u, float *v) const {
    u32 pair = *(const u32 *)(samples + index);
    *u = (float)(pair & 0xffffu) * (1.0f / 256.0f), *v = (float)(pair >> 16) * (1.0f / 256.0f);
  }
};

// Indices stay within 31 bits: the largest slot, 16384 x 16384, has 1.5 x 2^28 samples.
template <typename Plane>
__device__ __forceinline__ float luma_of(const Plane &plane, const Footprint &across, const Footprint &down,
                                         int pitch) {
  float light = 0.0f;
  int columns = across.taps.count, rows = down.taps.count;
  int base = down.taps.first * pitch + across.taps.first;
  if (columns <= FEW && rows <= FEW) {
#pragma unroll
    for (int row = 0; row < FEW; ++row) {
      if (row >= rows) break;
      float sum = 0.0f;
#pragma unroll
      for (int column = 0; column < FEW; ++column)
        if (column < columns) sum += across.few[column] * plane.one(base + column);
      light += down.few[row] * sum;
      base += pitch;
    }
    return light;
  }
  for (int row = 0; row < rows; ++row, base += pitch) {
    float sum = 0.0f;
    for (int column = 0; column < columns; ++column) sum += tap_weight(across.taps, column) * plane.one(base + column);
    light += tap_weight(down.taps, row) * sum;
  }
  return light;
}

template <typename Plane>
__device__ __forceinline__ void chroma_of(const Plane &plane, const Footprint &across, const Footprint &down, int pitch,
                                          int above, float *blue, float *red) {
  float all_u = 0.0f, all_v = 0.0f, u, v;
  int columns = across.taps.count, rows = down.taps.count;
  int base = (above + down.taps.first) * pitch + 2 * across.taps.first;
  if (columns <= FEW && rows <= FEW) {
#pragma unroll
    for (int row = 0; row < FEW; ++row) {
      if (row >= rows) break;
      float sum_u = 0.0f, sum_v = 0.0f;
#pragma unroll
      for (int column = 0; column < FEW; ++column) {
        if (column >= columns) continue;
        plane.both(base + 2 * column, &u, &v);
        sum_u += across.few[column] * u;
        sum_v += across.few[column] * v;
      }
      all_u += down.few[row] * sum_u;
      all_v += down.few[row] * sum_v;
      base += pitch;
    }
  } else {
    for (int row = 0; row < rows; ++row, base += pitch) {
      float sum_u = 0.0f, sum_v = 0.0f;
      for (int column = 0; column < columns; ++column) {
        plane.both(base + 2 * column, &u, &v);
        sum_u += tap_weight(across.taps, column) * u;
        sum_v += tap_weight(across.taps, column) * v;
      }
      all_u += tap_weight(down.taps, row) * sum_u;
      all_v += tap_weight(down.taps, row) * sum_v;
    }
  }
  *blue = all_u, *red = all_v;
}

template <typename Plane>
__device__ __forceinline__ void rgb_of(const Plane &plane, const LetterboxItem &item, const Footprint &luma_across,
                                       const Footprint &luma_down, const Footprint &chroma_across,
                                       const Footprint &chroma_down, float *rgb) {
  float light = luma_of(plane, luma_across, luma_down, item.pitch), blue, red;
  chroma_of(plane, chroma_across, chroma_down, item.pitch, item.slot_rows, &blue, &red);
  for (int channel = 0; channel < 3; ++channel) {
    const float *m = item.matrix + 4 * channel;
    rgb[channel] = clamp_float(rintf(m[0] * light + m[1] * blue + m[2] * red + m[3]), 0.0f, 255.0f);
  }
}

// Calls put(x, y, rgb) for each pixel of this block.
template <typename Put>
__device__ __forceinline__ void letterbox_block(const LetterboxItem &item, int width, int height, Put put) {
  __shared__ AxisTaps<ACROSS> columns;  // of the shown picture; they lie along the stored one's rows where it is turned
  __shared__ AxisTaps<DOWN> rows;
  int turned = item.rotation == 90 || item.rotation == 270;
  int shown_width = turned ? item.content_height : item.content_width;
  int shown_height = turned ? item.content_width : item.content_height;
  int x0 = blockIdx.x * ACROSS, y0 = blockIdx.y * DOWN;
  fill_taps(&columns, x0, shown_width, item.rotation == 90 || item.rotation == 180, shown_width,
            turned ? item.height : item.width);
  fill_taps(&rows, y0, shown_height, item.rotation == 180 || item.rotation == 270, shown_height,
            turned ? item.width : item.height);
  __syncthreads();
  for (int i = threadIdx.x; i < ACROSS * DOWN; i += blockDim.x) {
    int column = i % ACROSS, row = i / ACROSS, x = x0 + column, y = y0 + row;
    if (x >= width || y >= height) continue;
    float rgb[3] = {0.0f, 0.0f, 0.0f};
    if (x < shown_width && y < shown_height) {
      const Footprint &luma_x = columns.luma[column], &luma_y = rows.luma[row];
      const Footprint &chroma_x = columns.chroma[column], &chroma_y = rows.chroma[row];
      Narrow narrow = {(const u8 *)item.slot};
      Wide wide = {(const u16 *)item.slot};
      if (item.wide && turned) rgb_of(wide, item, luma_y, luma_x, chroma_y, chroma_x, rgb);
      else if (item.wide) rgb_of(wide, item, luma_x, luma_y, chroma_x, chroma_y, rgb);
      else if (turned) rgb_of(narrow, item, luma_y, luma_x, chroma_y, chroma_x, rgb);
      else rgb_of(narrow, item, luma_x, luma_y, chroma_x, chroma_y, rgb);
    }
    put(x, y, rgb);
  }
}

extern "C" __global__ void letterbox_float(const LetterboxItem *items, float *out, int width, int height) {
  long long plane = (long long)width * height;
  float *base = out + blockIdx.z * 3 * plane;
  letterbox_block(items[blockIdx.z], width, height, [&](int x, int y, const float *rgb) {
    for (int channel = 0; channel < 3; ++channel) base[channel * plane + y * width + x] = rgb[channel];
  });
}

extern "C" __global__ void letterbox_half(const LetterboxItem *items, u16 *out, int width, int height) {
  long long plane = (long long)width * height;
  u16 *base = out + blockIdx.z * 3 * plane;
  letterbox_block(items[blockIdx.z], width, height, [&](int x, int y, const float *rgb) {
    for (int channel = 0; channel < 3; ++channel) base[channel * plane + y * width + x] = to_half(rgb[channel]);
  });
}
