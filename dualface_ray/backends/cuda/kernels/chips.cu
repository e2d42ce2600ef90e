// Aligned face chips straight from slots into the embedding's input; one launch for a batch.
//
// A thread makes one pixel: the mean of samples x samples points spread evenly over the pixel's footprint in the
// source, each interpolated linearly, so that large faces shrink without aliasing. Points beyond the picture count as
// the colour black. Grid: (pixels / block, 1, batch).

struct ChipItem {
  u64 slot;
  int pitch, slot_rows, wide;
  int width, height;
  int samples;          // points in each direction
  float outside;        // luma level beyond the picture
  float transform[6];   // row by row: stored = T[:, :2] (x, y) + T[:, 2], both as continuous edges
  float matrix[12];     // YUV to RGB, as in letterbox.cu
};

__device__ __forceinline__ float bilinear(const u8 *plane, long long base, int pitch, int stride, int width, int height,
                                          float x, float y, int wide, float outside) {
  if (x < 0.0f || y < 0.0f || x > (float)width || y > (float)height) return outside;
  float left = clamp_float(x - 0.5f, 0.0f, (float)(width - 1)), top = clamp_float(y - 0.5f, 0.0f, (float)(height - 1));
  int x0 = (int)left, y0 = (int)top;
  int x1 = x0 + 1 < width ? x0 + 1 : x0, y1 = y0 + 1 < height ? y0 + 1 : y0;
  float fx = left - (float)x0, fy = top - (float)y0;
  long long upper = base + (long long)y0 * pitch, lower = base + (long long)y1 * pitch;
  float a = sample(plane, upper + x0 * stride, wide), b = sample(plane, upper + x1 * stride, wide);
  float c = sample(plane, lower + x0 * stride, wide), d = sample(plane, lower + x1 * stride, wide);
  return (a * (1.0f - fx) + b * fx) * (1.0f - fy) + (c * (1.0f - fx) + d * fx) * fy;
}

__device__ void chip_pixel(const ChipItem &item, int x, int y, float *rgb) {
  const u8 *slot = (const u8 *)item.slot;
  long long chroma = (long long)item.slot_rows * item.pitch;
  int chroma_width = (item.width + 1) / 2, chroma_height = (item.height + 1) / 2;
  float yuv[3] = {0.0f, 0.0f, 0.0f}, step = 1.0f / (float)item.samples;
  const float *t = item.transform;
  for (int j = 0; j < item.samples; ++j)
    for (int i = 0; i < item.samples; ++i) {
      float u = (float)x + ((float)i + 0.5f) * step, v = (float)y + ((float)j + 0.5f) * step;
      float sx = t[0] * u + t[1] * v + t[2], sy = t[3] * u + t[4] * v + t[5];
      yuv[0] += bilinear(slot, 0, item.pitch, 1, item.width, item.height, sx, sy, item.wide, item.outside);
      for (int k = 0; k < 2; ++k)
        yuv[1 + k] += bilinear(slot, chroma + k, item.pitch, 2, chroma_width, chroma_height, sx * 0.5f, sy * 0.5f,
                               item.wide, 128.0f);
    }
  float share = step * step;
  for (int channel = 0; channel < 3; ++channel) {
    const float *m = item.matrix + 4 * channel;
    rgb[channel] = clamp_float(
        rintf((m[0] * yuv[0] + m[1] * yuv[1] + m[2] * yuv[2]) * share + m[3]), 0.0f, 255.0f);
  }
}

extern "C" __global__ void chips_float(const ChipItem *items, float *out, int width, int height, float mean_r,
                                       float mean_g, float mean_b, float scale, int reversed) {
  int pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= width * height) return;
  float rgb[3], mean[3] = {mean_r, mean_g, mean_b};
  chip_pixel(items[blockIdx.z], pixel % width, pixel / width, rgb);
  float *base = out + (long long)blockIdx.z * 3 * width * height + pixel;
  for (int k = 0; k < 3; ++k) base[(long long)k * width * height] = (rgb[reversed ? 2 - k : k] - mean[k]) * scale;
}

extern "C" __global__ void chips_half(const ChipItem *items, u16 *out, int width, int height, float mean_r,
                                      float mean_g, float mean_b, float scale, int reversed) {
  int pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= width * height) return;
  float rgb[3], mean[3] = {mean_r, mean_g, mean_b};
  chip_pixel(items[blockIdx.z], pixel % width, pixel / width, rgb);
  u16 *base = out + (long long)blockIdx.z * 3 * width * height + pixel;
  for (int k = 0; k < 3; ++k) base[(long long)k * width * height] = to_half((rgb[reversed ? 2 - k : k] - mean[k]) * scale);
}
