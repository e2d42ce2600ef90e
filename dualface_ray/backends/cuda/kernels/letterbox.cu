// Slots of any streams -> letterboxed RGB, planar, straight into the engine's input; one launch for a whole batch.
//
// One thread makes one pixel of the input. Luma is the mean over the pixel's footprint in the source where the picture
// shrinks, linear interpolation where it grows, each axis by itself; chroma likewise over twice that footprint, because
// the source holds half as many samples and the network does not look at fine colour. Where no footprint is wider than
// FEW samples (a 1080p picture has 3 or 4 to a pixel), weights are made once and rows unrolled; the sums are the same.
// Grid: (pixels / block, 1, batch).

#define FEW 4

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

struct Narrow {
  const u8 *samples;
  __device__ __forceinline__ float one(long long index) const { return (float)samples[index]; }
  __device__ __forceinline__ void both(long long index, float *u, float *v) const {  // u lies at an even address
    u32 pair = *(const u16 *)(samples + index);
    *u = (float)(pair & 0xffu), *v = (float)(pair >> 8);
  }
};

struct Wide {
  const u16 *samples;
  __device__ __forceinline__ float one(long long index) const { return (float)samples[index] * (1.0f / 256.0f); }
  __device__ __forceinline__ void both(long long index, float *u, float *v) const {
    u32 pair = *(const u32 *)(samples + index);
    *u = (float)(pair & 0xffffu) * (1.0f / 256.0f), *v = (float)(pair >> 16) * (1.0f / 256.0f);
  }
};

struct FewWeights {
  float of[FEW];
};

__device__ __forceinline__ FewWeights few_weights(const Taps &taps) {
  FewWeights weights;
#pragma unroll
  for (int k = 0; k < FEW; ++k) weights.of[k] = k < taps.count ? tap_weight(taps, k) : 0.0f;
  return weights;
}

template <typename Plane>
__device__ __forceinline__ float luma_of(const Plane &plane, const Taps &across, const Taps &down, long long pitch) {
  float light = 0.0f;
  long long base = down.first * pitch + across.first;
  if (across.count <= FEW && down.count <= FEW) {
    FewWeights columns = few_weights(across), rows = few_weights(down);
#pragma unroll
    for (int row = 0; row < FEW; ++row) {
      if (row >= down.count) break;
      float sum = 0.0f;
#pragma unroll
      for (int column = 0; column < FEW; ++column)
        if (column < across.count) sum += columns.of[column] * plane.one(base + row * pitch + column);
      light += rows.of[row] * sum;
    }
    return light;
  }
  for (int row = 0; row < down.count; ++row, base += pitch) {
    float sum = 0.0f;
    for (int column = 0; column < across.count; ++column) sum += tap_weight(across, column) * plane.one(base + column);
    light += tap_weight(down, row) * sum;
  }
  return light;
}

template <typename Plane>
__device__ __forceinline__ void chroma_of(const Plane &plane, const Taps &across, const Taps &down, long long pitch,
                                          int above, float *blue, float *red) {
  *blue = *red = 0.0f;
  float u, v;
  long long base = ((long long)above + down.first) * pitch + 2 * across.first;
  if (across.count <= FEW && down.count <= FEW) {
    FewWeights columns = few_weights(across), rows = few_weights(down);
#pragma unroll
    for (int row = 0; row < FEW; ++row) {
      if (row >= down.count) break;
      float sum_u = 0.0f, sum_v = 0.0f;
#pragma unroll
      for (int column = 0; column < FEW; ++column) {
        if (column >= across.count) continue;
        plane.both(base + row * pitch + 2 * column, &u, &v);
        sum_u += columns.of[column] * u;
        sum_v += columns.of[column] * v;
      }
      *blue += rows.of[row] * sum_u;
      *red += rows.of[row] * sum_v;
    }
    return;
  }
  for (int row = 0; row < down.count; ++row, base += pitch) {
    float sum_u = 0.0f, sum_v = 0.0f;
    for (int column = 0; column < across.count; ++column) {
      plane.both(base + 2 * column, &u, &v);
      sum_u += tap_weight(across, column) * u;
      sum_v += tap_weight(across, column) * v;
    }
    *blue += tap_weight(down, row) * sum_u;
    *red += tap_weight(down, row) * sum_v;
  }
}

__device__ __forceinline__ void letterbox_pixel(const LetterboxItem &item, int x, int y, float *rgb) {
  int turned = item.rotation == 90 || item.rotation == 270;
  int shown_width = turned ? item.content_height : item.content_width;
  int shown_height = turned ? item.content_width : item.content_height;
  rgb[0] = rgb[1] = rgb[2] = 0.0f;
  if (x >= shown_width || y >= shown_height) return;
  int stored_x = x, stored_y = y;
  if (item.rotation == 90) {
    stored_x = y;
    stored_y = item.content_height - 1 - x;
  } else if (item.rotation == 180) {
    stored_x = item.content_width - 1 - x;
    stored_y = item.content_height - 1 - y;
  } else if (item.rotation == 270) {
    stored_x = item.content_width - 1 - y;
    stored_y = x;
  }
  int chroma_width = (item.width + 1) / 2, chroma_height = (item.height + 1) / 2;
  Taps across = letterbox_taps(stored_x, item.content_width, item.width, 1.0f);
  Taps down = letterbox_taps(stored_y, item.content_height, item.height, 1.0f);
  Taps chroma_across = letterbox_taps(stored_x, item.content_width, chroma_width, 2.0f);
  Taps chroma_down = letterbox_taps(stored_y, item.content_height, chroma_height, 2.0f);
  float light, blue, red;
  if (item.wide) {
    Wide plane = {(const u16 *)item.slot};
    light = luma_of(plane, across, down, item.pitch);
    chroma_of(plane, chroma_across, chroma_down, item.pitch, item.slot_rows, &blue, &red);
  } else {
    Narrow plane = {(const u8 *)item.slot};
    light = luma_of(plane, across, down, item.pitch);
    chroma_of(plane, chroma_across, chroma_down, item.pitch, item.slot_rows, &blue, &red);
  }
  for (int channel = 0; channel < 3; ++channel) {
    const float *m = item.matrix + 4 * channel;
    rgb[channel] = clamp_float(rintf(m[0] * light + m[1] * blue + m[2] * red + m[3]), 0.0f, 255.0f);
  }
}

extern "C" __global__ void letterbox_float(const LetterboxItem *items, float *out, int width, int height) {
  int pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= width * height) return;
  float rgb[3];
  letterbox_pixel(items[blockIdx.z], pixel % width, pixel / width, rgb);
  float *base = out + (long long)blockIdx.z * 3 * width * height + pixel;
  for (int channel = 0; channel < 3; ++channel) base[(long long)channel * width * height] = rgb[channel];
}

extern "C" __global__ void letterbox_half(const LetterboxItem *items, u16 *out, int width, int height) {
  int pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= width * height) return;
  float rgb[3];
  letterbox_pixel(items[blockIdx.z], pixel % width, pixel / width, rgb);
  u16 *base = out + (long long)blockIdx.z * 3 * width * height + pixel;
  for (int channel = 0; channel < 3; ++channel) base[(long long)channel * width * height] = to_half(rgb[channel]);
}
