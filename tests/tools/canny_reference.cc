// canny_reference.cc - OpenCV's own edges, for make_canny_samples.py: bytes of a picture in, bytes of its edges out.
//
//     g++ canny_reference.cc -o canny_reference $(pkg-config --cflags --libs opencv4)
//     canny_reference WIDTH HEIGHT CHANNELS LOW HIGH < pixels > edges
#include <cstdio>
#include <cstdlib>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

int main(int count, char **argument)
{
    if (count != 6)
        return 2;
    cv::Mat picture(atoi(argument[2]), atoi(argument[1]), CV_8UC(atoi(argument[3]))), edges;
    if (fread(picture.data, 1, picture.total() * picture.elemSize(), stdin) != picture.total() * picture.elemSize())
        return 1;
    cv::Canny(picture, edges, atof(argument[4]), atof(argument[5]));
    return fwrite(edges.data, 1, edges.total(), stdout) == edges.total() ? 0 : 1;
}
