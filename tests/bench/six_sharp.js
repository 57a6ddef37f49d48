// What users of Node would write for six files a photo: worker threads, one output at a time, each from the file.
// node six_sharp.js PHOTOS OUT [WORKERS]   (sharp is taken from the folder it runs in)
const { Worker, isMainThread, parentPort } = require('worker_threads');
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const [PHOTOS, OUT, WORKERS = '2'] = process.argv.slice(2);
const SIZES = [['thumbnail', 200, 80], ['medium', 800, 82], ['large', 2048, 85]];
const WEBP_EFFORT = 4;

if (isMainThread) {
  fs.mkdirSync(OUT, { recursive: true });
  const photos = fs.readdirSync(PHOTOS).map((name) => path.join(PHOTOS, name));
  let next = 0;
  for (let number = 0; number < Number(WORKERS); number++) {
    const worker = new Worker(__filename, { argv: process.argv.slice(2) });
    const feed = () => worker.postMessage(next < photos.length ? photos[next++] : null);
    worker.on('message', feed);
    feed();
  }
} else {
  const sharp = createRequire(path.join(process.cwd(), 'here.js'))('sharp');
  sharp.concurrency(1);
  sharp.cache(false);
  const resized = (photo, box) =>
    sharp(photo, { failOn: 'none' }).rotate().resize(box, box, { fit: 'inside', withoutEnlargement: true });
  parentPort.on('message', async (photo) => {
    if (photo === null) return parentPort.close();
    for (const [name, box, quality] of SIZES) {
      const target = path.join(OUT, `${path.basename(photo)}.${name}`);
      await resized(photo, box).jpeg({ quality, progressive: true }).toFile(`${target}.jpg`);
      await resized(photo, box).webp({ quality, effort: WEBP_EFFORT }).toFile(`${target}-webp.webp`);
    }
    parentPort.postMessage('next');
  });
}
