// Slots of any streams -> letterboxed RGB, planar, straight into the engine's input; one launch for a whole batch.
//
// One thread makes one pixel of the input. Luma is the mean over the pixel's footprint in the source where the picture
// shrinks, linear interpolation where it grows, each axis by itself; chroma likewise over twice that footprint, because
// the source holds half as many samples and the network does not look at fine colour. Grid: (pixels / block, 1, batch).

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
  const u8 *luma = (const u8 *)item.slot;
  long long pitch = item.pitch;
  Taps across = letterbox_taps(stored_x, item.content_width, item.width, 1.0f);
  Taps down = letterbox_taps(stored_y, item.content_height, item.height, 1.0f);
  float light = 0.0f;
  for (int row = 0; row < down.count; ++row) {
    float sum = 0.0f;
    long long base = (long long)(down.first + row) * pitch + across.first;
    for (int column = 0; column < across.count; ++column)
      sum += tap_weight(across, column) * sample(luma, base + column, item.wide);
    light += tap_weight(down, row) * sum;
  }
  int chroma_width = (item.width + 1) / 2, chroma_height = (item.height + 1) / 2;
  across = letterbox_taps(stored_x, item.content_width, chroma_width, 2.0f);
  down = letterbox_taps(stored_y, item.content_height, chroma_height, 2.0f);
  float blue = 0.0f, red = 0.0f;
  for (int row = 0; row < down.count; ++row) {
    float sum_u = 0.0f, sum_v = 0.0f;
    long long base = ((long long)item.slot_rows + down.first + row) * pitch + 2 * across.first;
    for (int column = 0; column < across.count; ++column) {
      float weight = tap_weight(across, column);
      sum_u += weight * sample(luma, base + 2 * column, item.wide);
      sum_v += weight * sample(luma, base + 2 * column + 1, item.wide);
    }
    float weight = tap_weight(down, row);
    blue += weight * sum_u;
    red += weight * sum_v;
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
