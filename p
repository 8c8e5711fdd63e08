{
 "format": "lqhq-precision-plan",
 "version": 1,
 "precision": "fp16",
 "islands": {
  "denoise": []
 },
 "psnr": 67.9
}
